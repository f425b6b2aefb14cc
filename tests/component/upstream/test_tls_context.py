"""Certificates without key identifiers are accepted, as by Go, curl and skopeo; the rest is checked."""

from __future__ import annotations

import asyncio
import functools
import ssl
from pathlib import Path

import pytest

from pullgate import faults, tls_context
from pullgate.policy.tenancy import LOOPBACK
from pullgate.tls_context import build_client_context, relax_strict
from pullgate.upstream.client import Upstream, UpstreamRequest
from pullgate.upstream.config import UpstreamConfig
from tests.component.upstream.certificates import authority, server_context
from tests.component.upstream.stage import CREDENTIALS, Reply, Stage, bearer, token_reply

PING = UpstreamRequest("GET", "", "ping")


@pytest.fixture
def strict_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts as Python 3.13 makes them: with VERIFY_X509_STRICT (its What's New, "ssl")."""
    original = ssl.create_default_context

    @functools.wraps(original)
    def strict(*arguments: object, **options: object) -> ssl.SSLContext:
        context = original(*arguments, **options)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    tls_context.client_context.cache_clear()


def test_the_flag_is_cleared_and_no_other() -> None:
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST
    assert relax_strict(context) is context
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_TRUSTED_FIRST
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.usefixtures("strict_defaults")
def test_every_client_context_is_relaxed() -> None:
    for context in (tls_context.client_context(), build_client_context(), build_client_context(authority().pem)):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.usefixtures("strict_defaults")
async def test_a_private_ca_without_key_identifiers_is_trusted_by_upstream_and_token_server(tmp_path: Path) -> None:
    def registry(request: object) -> Reply:
        path, shown = request.path, request.headers.get("Authorization", "")  # type: ignore[attr-defined]
        if path == "/token":
            return token_reply()
        return Reply(200, b"{}") if shown.startswith("Bearer") else bearer(stage.url + "/token")

    async with Stage(registry, tls=server_context(tmp_path)) as stage:
        config = stage.config(plain_http=False, ca_pem=authority().pem, credentials=CREDENTIALS)
        async with Upstream(config) as upstream:
            (await upstream.ping()).release()
        assert "/token?service=stage" in [asked.path.partition("&")[0] for asked in stage.asked]


async def test_the_message_holds_openssls_own_reason(tmp_path: Path) -> None:
    async with Stage(lambda _: Reply(), tls=server_context(tmp_path)) as stage:
        for ca_pem in (None, authority("Another CA").pem):
            async with Upstream(stage.config(plain_http=False, ca_pem=ca_pem)) as upstream:
                with pytest.raises(faults.UpstreamTLS, match=r"\(unable to get local issuer certificate\)"):
                    await upstream.send(PING)


async def test_the_message_holds_the_reason_of_a_failed_handshake() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # the alert handshake_failure (RFC 5246, section 7.2)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Upstream(UpstreamConfig("my-app/stage", "registry.test", host, networks=LOOPBACK)) as upstream:
            with pytest.raises(faults.UpstreamTLS, match=r"the handshake failed \(.*alert handshake failure\)"):
                await upstream.send(PING)
