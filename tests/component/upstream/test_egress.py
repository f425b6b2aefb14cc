"""Pulls, logins and probes go through the egress proxy that the environment names, and the SSRF guard still holds."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.upstream import large_body
from pullgate.upstream.blob import stream_blob
from pullgate.upstream.client import Upstream, UpstreamRequest
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.diagnose import diagnose
from tests.component.upstream.certificates import authority, server_context
from tests.component.upstream.stage import CREDENTIALS, Reply, Stage, token_reply
from tests.support.ports import free_port
from tests.support.upstreams.connect_proxy import ConnectProxy

NAME = "registry.example.com"
"""A name that only the egress proxy can resolve."""
LOGIN = "Basic cHVsbGVyOkNBTkFSWS1vZi10aGUtcHJveHk="
USERINFO = "puller:CANARY-of-the-proxy"
BODY = bytes(range(256)) * 4 * 4096 * 2  # 8 MiB
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()
BLOB = UpstreamRequest("GET", "a/b", "blobs", DIGEST)

SetProxy = Callable[..., None]


def config(*, port: int = 443, plain_http: bool = False, credentials: Credentials | None = None) -> UpstreamConfig:
    host = NAME if port == 443 else f"{NAME}:{port}"
    ca_pem = None if plain_http else authority().pem
    return UpstreamConfig(
        "my-app/stage", NAME, host, credentials, plain_http=plain_http, ca_pem=ca_pem, networks=LOOPBACK
    )


@pytest.fixture
def set_proxy(monkeypatch: pytest.MonkeyPatch) -> SetProxy:
    """The environment of a process behind an egress proxy."""

    def set_variables(proxy: ConnectProxy, userinfo: str = "", no_proxy: str = "") -> None:
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://{userinfo}{'@' if userinfo else ''}{proxy.host}")
        monkeypatch.setenv("NO_PROXY", no_proxy)

    return set_variables


async def test_a_large_blob_comes_whole_through_connect(
    tmp_path: Path, set_proxy: SetProxy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    begin = large_body.LargeBody.__init__

    def counted(self: large_body.LargeBody, *arguments: object) -> None:
        taken.append(1)
        begin(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(large_body.LargeBody, "__init__", counted)  # only to see that the fast path is taken
    caplog.set_level(logging.DEBUG)
    async with Stage(lambda _: Reply(200, BODY), tls=server_context(tmp_path, name=NAME)) as stage:
        async with ConnectProxy({NAME: stage.host}, login=LOGIN) as proxy:
            set_proxy(proxy, USERINFO)
            async with Upstream(config()) as upstream:
                stream = stream_blob(upstream, BLOB, await upstream.send(BLOB))
                body = b"".join([bytes(chunk) async for chunk in stream])
                await stream.aclose()
            assert body == BODY
            assert taken == [1]
            assert proxy.asked == [f"CONNECT {NAME}:443"]
            assert "Proxy-Authorization" not in stage.asked[0].headers
    assert "CANARY" not in caplog.text
    assert LOGIN not in caplog.text


async def test_the_token_server_is_asked_through_the_proxy_too(tmp_path: Path, set_proxy: SetProxy) -> None:
    def registry(request: web.Request) -> Reply:
        if request.path == "/token":
            return token_reply()
        challenge = {"WWW-Authenticate": 'Bearer realm="https://auth.example.com/token",service="s"'}
        return Reply(200, b"{}") if "Authorization" in request.headers else Reply(401, b"{}", challenge)

    (tmp_path / "auth").mkdir()
    async with Stage(registry, tls=server_context(tmp_path, name=NAME)) as stage:
        async with Stage(registry, tls=server_context(tmp_path / "auth", name="auth.example.com")) as tokens:
            async with ConnectProxy({NAME: stage.host, "auth.example.com": tokens.host}) as proxy:
                set_proxy(proxy)
                async with Upstream(config(credentials=CREDENTIALS)) as upstream:
                    (await upstream.ping()).release()
                assert f"CONNECT {NAME}:443" in proxy.asked
                assert "CONNECT auth.example.com:443" in proxy.asked


async def test_plain_http_goes_through_it_in_the_absolute_form(set_proxy: SetProxy) -> None:
    async with Stage(lambda _: Reply(200, b"{}")) as stage, ConnectProxy({NAME: stage.host}, login=LOGIN) as proxy:
        set_proxy(proxy, USERINFO)
        async with Upstream(config(port=8080, plain_http=True)) as upstream:
            (await upstream.ping()).release()
        assert proxy.asked == [f"GET http://{NAME}:8080/v2/"]
        assert "Proxy-Authorization" not in stage.asked[0].headers


async def test_no_proxy_is_asked_directly(set_proxy: SetProxy) -> None:
    async with ConnectProxy({}) as proxy:
        set_proxy(proxy, no_proxy=".example.com")
        async with Upstream(config()) as upstream:
            with pytest.raises(faults.UpstreamUnreachable, match="name does not resolve"):
                await upstream.ping()
        assert proxy.asked == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("https://169.254.169.254/latest/meta-data", "a private address"),
        ("https://metadata.google.internal/", "a private address"),
        ("https://2852039166/", "a private address"),  # 169.254.169.254 as a number
        ("https://0x7f.0.0.1/", "a private address"),
        ("https://vault/", "a private address"),
        ("https://kubernetes.default.svc/", "a private address"),
        ("https://files.corp/", "a private address"),
        ("https://10.0.0.1/", "a private address"),
    ],
)
async def test_a_redirect_to_a_private_place_is_refused_before_the_proxy_is_asked(
    tmp_path: Path, set_proxy: SetProxy, target: str, words: str
) -> None:
    script = lambda _: Reply(307, b"", {"Location": target})  # noqa: E731
    async with Stage(script, tls=server_context(tmp_path, name=NAME)) as stage:
        async with ConnectProxy({NAME: stage.host}) as proxy:
            set_proxy(proxy)
            async with Upstream(config()) as upstream:
                with pytest.raises(faults.RedirectRefused, match=words):
                    await upstream.send(BLOB)
            assert proxy.asked == [f"CONNECT {NAME}:443"]


@pytest.mark.parametrize(
    ("answer", "userinfo", "words", "plain_http"),
    [
        (None, "", "it wants another login", False),
        (None, "", "it wants another login", True),
        (None, "puller:CANARY-wrong", "it wants another login", False),
        (None, "puller:CANARY-wrong", "it wants another login", True),
        # Without CONNECT the proxy's answer is like the upstream's.
        (403, USERINFO, "it answered 403", False),
        (502, USERINFO, "it answered 502", False),
    ],
)
async def test_a_proxy_that_refuses_is_named_without_its_login(
    set_proxy: SetProxy, answer: int | None, userinfo: str, words: str, plain_http: bool
) -> None:
    async with ConnectProxy({}, login=LOGIN, answer=answer) as proxy:
        set_proxy(proxy, userinfo)
        async with Upstream(config(plain_http=plain_http)) as upstream:
            with pytest.raises(faults.UpstreamUnreachable, match=words) as caught:
                await upstream.ping()
        assert f"egress proxy {proxy.host}" in caught.value.message
        assert "CANARY" not in repr(caught.value) + str(caught.value.__cause__) + str(caught.value.__context__)


async def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    async with Upstream(config()) as upstream:
        with pytest.raises(faults.UpstreamUnreachable, match=f"egress proxy 127.0.0.1:{port}: connection refused"):
            await upstream.ping()


async def test_a_proxy_that_the_variable_does_not_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://a:CANARY@proxy:1080")
    async with Upstream(config()) as upstream:
        with pytest.raises(faults.UpstreamUnreachable, match="HTTPS_PROXY names no proxy") as caught:
            await upstream.ping()
    assert "CANARY" not in caught.value.message


async def test_registry_test_shows_the_proxy_and_passes(tmp_path: Path, set_proxy: SetProxy) -> None:
    async with Stage(lambda _: Reply(200, b"{}"), tls=server_context(tmp_path, name=NAME)) as stage:
        async with ConnectProxy({NAME: stage.host}) as proxy:
            set_proxy(proxy)
            steps = [step async for step in diagnose(config())]
            assert all(step.passed for step in steps), steps
            assert steps[0].text == f"{NAME} is resolved by the egress proxy {proxy.host}"
            assert steps[1].text == f"the egress proxy {proxy.host} is there"
