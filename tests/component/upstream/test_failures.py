"""A failure leaves as a fault that names its cause, is tried again only where that can help, and holds no secret."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import Timeouts, UpstreamConfig
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.certificates import authority, server_context
from tests.component.upstream.stage import BASIC, CREDENTIALS, IMAGE_BODY, Reply, Stage, bearer, replies
from tests.support.ports import UNRESOLVABLE_HOST, Blackhole, dead_port, unaccepting_port

MANIFEST = UpstreamRequest("GET", "a/b", "manifests", "1")
OK = Reply(200, IMAGE_BODY, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
SHORT = Timeouts(connect=0.3, first_byte=0.3, idle=0.3)


def config_for(host: str, timeouts: Timeouts = SHORT) -> UpstreamConfig:
    return UpstreamConfig(
        "my-app/x", "registry.test", host, CREDENTIALS, plain_http=True, timeouts=timeouts, networks=LOOPBACK
    )


async def fault_of(config: UpstreamConfig) -> faults.Fault:
    async with Upstream(config) as upstream:
        with pytest.raises(faults.Fault) as caught:
            await upstream.send(MANIFEST)
    return caught.value


async def test_a_name_that_does_not_resolve_is_told() -> None:
    fault = await fault_of(config_for(UNRESOLVABLE_HOST))
    assert isinstance(fault, faults.UpstreamUnreachable)
    assert fault.message.startswith("registry.test: name does not resolve")


async def test_a_refused_connection_is_told() -> None:
    with dead_port() as host:
        fault = await fault_of(config_for(host))
    assert isinstance(fault, faults.UpstreamUnreachable)
    assert fault.message == "registry.test: connection refused"


async def test_a_connection_that_takes_too_long_is_a_timeout() -> None:
    async with unaccepting_port() as host:
        fault = await fault_of(config_for(host, Timeouts(connect=0.1)))
    assert isinstance(fault, faults.UpstreamTimeout)
    assert fault.message == "no answer from registry.test in 0.1 s"


async def test_an_answer_that_takes_too_long_is_a_timeout_and_not_asked_for_again() -> None:
    async with Blackhole() as hole:
        fault = await fault_of(config_for(hole.host, Timeouts(first_byte=0.2)))
        assert isinstance(fault, faults.UpstreamTimeout)
        assert fault.message == "no answer from registry.test in 0.2 s"
        assert hole.connections == 1


async def test_all_tries_together_are_bounded() -> None:
    async with Blackhole() as hole:
        fault = await fault_of(config_for(hole.host, Timeouts(total=0.2)))
    assert isinstance(fault, faults.UpstreamTimeout)
    assert fault.message == "no answer from registry.test in 0.2 s"


async def test_the_bound_names_what_went_wrong_before_it() -> None:
    async with Stage(replies(Reply(503), Reply(silent=True))) as stage:
        fault = await fault_of(config_for(stage.host, Timeouts(total=1.0)))
    assert isinstance(fault, faults.UpstreamError)


async def test_a_body_that_stalls_is_a_timeout() -> None:
    async with Stage(lambda _: Reply(200, b"x" * 100, stall_after=10)) as stage:
        async with Upstream(config_for(stage.host, Timeouts(first_byte=5, idle=0.2))) as upstream:
            response = await upstream.send(MANIFEST)
            with pytest.raises(faults.UpstreamTimeout, match=r"in 0\.2 s"):
                await response.read(1000)


async def test_a_body_over_its_bound_is_not_read() -> None:
    async with Stage(lambda _: Reply(200, b"x" * 100_000)) as stage, Upstream(stage.config()) as upstream:
        response = await upstream.send(MANIFEST)
        with pytest.raises(faults.UpstreamProtocol, match="larger than 1000 bytes"):
            await response.read(1000)


async def test_what_is_no_http_is_a_broken_protocol() -> None:
    async with Stage(lambda _: Reply(200, b"", {"X-Long": "x" * 40_000})) as stage:
        fault = await fault_of(stage.config())
    assert isinstance(fault, faults.UpstreamProtocol)


@pytest.mark.parametrize("passing", [Reply(502), Reply(503), Reply(504), Reply(hang_up=True)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_may_pass_is_tried_again_at_most_twice(passing: Reply, method: str) -> None:
    request = UpstreamRequest("HEAD" if method == "HEAD" else "GET", "a/b", "manifests", "1")
    async with Stage(replies(passing, passing, OK)) as stage, Upstream(stage.config()) as upstream:
        (await upstream.send(request)).release()
        assert len(stage.asked) == 3
    async with Stage(lambda _: passing) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises((faults.UpstreamError, faults.UpstreamUnreachable)):
            await upstream.send(request)
        assert len(stage.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 418, 429, 500, 501, 204, 206, 304, 416])
async def test_what_will_not_pass_is_not_tried_again(status: int) -> None:
    async with Stage(lambda _: Reply(status)) as stage:
        fault = await fault_of(stage.config())
        assert isinstance(fault, faults.Fault)
        assert len(stage.asked) == 1


async def test_a_post_to_a_token_server_is_never_repeated() -> None:
    def script(request: web.Request) -> Reply:
        if request.path != "/token":
            return bearer(stage.url + "/token")
        return Reply(405) if request.method == "GET" else Reply(503)

    async with Stage(script) as stage:
        fault = await fault_of(stage.config(credentials=CREDENTIALS))
        assert isinstance(fault, faults.UpstreamError)
        assert [asked.method for asked in stage.asked if asked.path == "/token"] == ["POST"]


async def test_the_answer_of_an_own_ca_is_trusted_and_of_no_other(tmp_path: Path) -> None:
    async with Stage(lambda _: OK, tls=server_context(tmp_path)) as stage:
        async with Upstream(stage.config(plain_http=False, ca_pem=authority().pem)) as upstream:
            (await upstream.send(MANIFEST)).release()
        for ca_pem in (None, authority("Another CA").pem):
            fault = await fault_of(stage.config(plain_http=False, ca_pem=ca_pem))
            assert isinstance(fault, faults.UpstreamTLS)
            assert "certificate is not from a trusted CA" in fault.message


@pytest.mark.parametrize(
    ("name", "begins", "ends", "words"),
    [
        ("127.0.0.1", -30, -1, "certificate expired"),
        ("127.0.0.1", 1, 2, "certificate is not yet valid"),
        ("127.0.0.2", -1, 1, "certificate is for another host"),
        ("registry.test", -1, 1, "certificate is for another host"),
    ],
)
async def test_a_bad_certificate_is_told(tmp_path: Path, name: str, begins: int, ends: int, words: str) -> None:
    async with Stage(lambda _: OK, tls=server_context(tmp_path, name=name, begins=begins, ends=ends)) as stage:
        fault = await fault_of(stage.config(plain_http=False, ca_pem=authority().pem))
        assert isinstance(fault, faults.UpstreamTLS)
        assert words in fault.message
        assert stage.asked == []


async def test_a_server_without_tls_is_told() -> None:
    async with Stage(lambda _: OK) as stage:
        fault = await fault_of(stage.config(plain_http=False))
    assert isinstance(fault, faults.UpstreamTLS)
    assert "it does not speak TLS" in fault.message


async def test_a_ca_that_is_none_is_told() -> None:
    async with Stage(lambda _: OK) as stage:
        fault = await fault_of(stage.config(plain_http=False, ca_pem="no certificate"))
    assert isinstance(fault, faults.UpstreamTLS)
    assert "cannot be read" in fault.message


async def test_what_is_sent_names_the_client_and_asks_for_the_bytes_as_they_are() -> None:
    async with Stage(lambda _: OK) as stage, Upstream(stage.config()) as upstream:
        accept = ("application/vnd.oci.image.index.v1+json", "application/json;q=0.5")
        (await upstream.send(UpstreamRequest("GET", "a/b", "manifests", "1", accept=accept))).release()
        headers = stage.asked[0].headers
        assert headers["Accept-Encoding"] == "identity"
        assert headers["User-Agent"].startswith("pullgate/")
        assert headers["Accept"] == ", ".join(accept)


def everything_of(fault: BaseException) -> str:
    """All text that a log could print of an exception and its chain."""
    seen, text = [fault], "".join(traceback.format_exception(fault))
    for error in seen:
        seen += [other for other in (error.__cause__, error.__context__) if other is not None and other not in seen]
        text += repr(error) + str(error) + repr(error.args) + repr(vars(error))
    return text


@pytest.mark.parametrize("kind", ["refused", "no TLS", "garbled", "hung up", "silent", "cut", "no name", "401", "slow"])
async def test_no_fault_holds_a_credential_or_a_signature(kind: str) -> None:
    target = {
        "refused": Reply(hang_up=True),
        "garbled": Reply(200, b"", {"X-Long": "x" * 40_000}),
        "hung up": Reply(hang_up=True),
        "silent": Reply(silent=True),
        "cut": Reply(200, b"x" * 100, cut_after=10),
        "401": Reply(401),
    }.get(kind, OK)
    async with Stage(lambda _: target) as cdn, unaccepting_port() as slow:
        origin = {
            "refused": "http://127.0.0.1:1",
            "no TLS": cdn.url.replace("http:", "https:"),
            "no name": f"http://{UNRESOLVABLE_HOST}",
            "slow": f"http://{slow}",
        }.get(kind, cdn.url)

        def script(request: web.Request) -> Reply:
            if "Authorization" not in request.headers:
                return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
            return target if kind == "401" else Reply(307, b"", {"Location": origin + "/x?X-Signature=SIGNED"})

        async with Stage(script) as stage:
            config = stage.config(credentials=CREDENTIALS, allow_private=True, timeouts=SHORT)
            async with Upstream(config) as upstream:
                with pytest.raises(faults.Fault) as caught:
                    await (await upstream.send(MANIFEST)).read(1000)
    text = everything_of(caught.value)
    for secret in (CREDENTIALS.password, BASIC.removeprefix("Basic "), "SIGNED"):
        assert secret not in text
