"""The proxy's own certificate, read again when its files change, so that a rotation needs no restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from pullgate_proxy.settings import InvalidSettings, ProxySettings

CHECK_SECONDS = 1.0

log = logging.getLogger(__name__)


def build_context(settings: ProxySettings) -> ssl.SSLContext | None:
    """The server's TLS context; None for plain HTTP. Raises InvalidSettings for files that do not work."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSettings(f"certificate {settings.tls_cert} and key {settings.tls_key}: {error}") from error
    return context


async def reload_on_change(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Load the files into `context` whenever one changes; new connections use them. Bad files are said and left."""
    seen = await asyncio.to_thread(_stamp, cert, key)
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        now = await asyncio.to_thread(_stamp, cert, key)
        if now == seen or now is None:
            continue
        try:
            await asyncio.to_thread(_load, context, cert, key)
        except (OSError, ssl.SSLError) as error:
            log.warning("the changed certificate %s is not used: %s", cert, error)
            continue
        seen = now
        log.info("the changed certificate %s is in use", cert)


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    # A context that took a certificate without its key is broken: try the pair on a fresh one first.
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    context.load_cert_chain(cert, key)


def _stamp(cert: Path, key: Path) -> tuple[tuple[int, int, int], ...] | None:
    try:
        stats = [path.stat() for path in (cert, key)]
    except OSError:
        return None
    return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in stats)
