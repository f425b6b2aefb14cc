"""aiohttp's and the system's exceptions as faults, in words that name the cause.

An exception of aiohttp may hold the request's headers (a credential) or a redirect's URL (a signature), so a fault is
chained only to what holds neither: the error of the system, of TLS or of the parser below it. That is also why a fault
is raised after its `except` block and not within: `__context__` would keep the original.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp

from pullgate import faults

_CAUSES: Mapping[int, str] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ENETUNREACH: "no route to it",
    errno.EHOSTUNREACH: "no route to it",
    errno.ETIMEDOUT: "connection timed out",
}
_OWN_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of this process, not of the upstream: no descriptor or memory for a connection."""

# OpenSSL's X509_V_ERR_*, of x509_vfy.h.
_CERTIFICATE_CAUSES: Mapping[int, str] = {
    2: "certificate is not from a trusted CA",
    9: "certificate is not yet valid",
    10: "certificate expired",
    18: "certificate is not from a trusted CA",
    19: "certificate is not from a trusted CA",
    20: "certificate is not from a trusted CA",
    21: "certificate is not from a trusted CA",
    23: "certificate was revoked",
    62: "certificate is for another host",
    64: "certificate is for another host",
}

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "PACKET_LENGTH_TOO_LONG"})


NOT_DIALLED: Final = "its address is link-local, or a metadata service"
PRIVATE: Final = "its address is private, in no network that the administrator of Pullgate allows"


class AddressRefused(OSError):
    """`guard` lets no address of this name through. An OSError, as aiohttp's connector expects of a resolver.

    Its text says why.
    """


class Transient(Exception):
    """A fault that a new try may cure. Never leaves this room: `retry` unwraps it."""

    def __init__(self, fault: faults.Fault) -> None:
        super().__init__()
        self.fault = fault


def fault_of_request(error: BaseException, host: str, connect: float, first_byte: float) -> faults.Fault | Transient:
    """Why no answer's headers came. `host` is who was asked, in words; the bounds are those that held, in seconds."""
    fault = _fault_of_request(error, host, connect, first_byte)
    fault.__cause__ = _safe_cause(error)
    fault.no_connection = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    return Transient(fault) if _may_pass(error) else fault


def fault_of_egress(error: BaseException, host: str, proxy: str) -> faults.Fault | Transient:
    """Why an egress proxy gave no connection. `host` is who was asked, and `proxy` (host:port) through whom."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return refused_by_egress(host, proxy, error.status)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        why = _name_cause(error.os_error)
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = certificate_cause(error.certificate_error)
    else:
        why = connection_cause(error) if isinstance(error, OSError) else "the connection failed"
    return Transient(_no_egress(host, proxy, why))


def refused_by_egress(host: str, proxy: str, status: int) -> faults.Fault | Transient:
    """The fault of a proxy that answers `status` in place of a connection; it may pass if the proxy found no way."""
    fault = _no_egress(host, proxy, "it wants another login" if status == 407 else f"it answered {status}")
    return Transient(fault) if status in {502, 503, 504} else fault


def _no_egress(host: str, proxy: str, why: str) -> faults.Fault:
    fault = faults.UpstreamUnreachable(host, f"no connection through the egress proxy {proxy}: {why}")
    fault.no_connection = True
    return fault


def fault_of_body(error: BaseException, host: str, idle: float) -> faults.Fault:
    """Why a body ended before its end."""
    fault: faults.Fault
    if isinstance(error, TimeoutError):
        fault = faults.UpstreamTimeout(host, idle)
    else:
        fault = faults.UpstreamProtocol(host, "the body ended early")
    fault.__cause__ = _safe_cause(error)
    return fault


def _fault_of_request(error: BaseException, host: str, connect: float, first_byte: float) -> faults.Fault:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return faults.UpstreamTLS(host, certificate_cause(error.certificate_error))
        case aiohttp.ClientConnectorSSLError():
            reason = getattr(error.os_error, "reason", None)
            return faults.UpstreamTLS(host, _handshake_cause(reason))
        case aiohttp.ClientConnectorDNSError():
            return faults.UpstreamUnreachable(host, _name_cause(error.os_error))
        case aiohttp.ClientConnectorError() if error.os_error.errno in _OWN_LACK:
            return _own_lack()
        case aiohttp.ConnectionTimeoutError():
            return faults.UpstreamTimeout(host, connect)
        case TimeoutError():
            return faults.UpstreamTimeout(host, first_byte)
        case aiohttp.ServerDisconnectedError():
            return faults.UpstreamUnreachable(host, "it closed the connection without an answer")
        case OSError():
            return faults.UpstreamUnreachable(host, connection_cause(error))
        case aiohttp.ClientResponseError():
            return faults.UpstreamProtocol(host, "the answer is not well-formed HTTP")
        case aiohttp.InvalidURL():
            return faults.UpstreamProtocol(host, "the URL is not well-formed")
        case _:
            return faults.UpstreamUnreachable(host, "the connection failed")


def _own_lack() -> faults.Fault:
    # The operator asks upstreams, too: it is not the proxy that is named.
    fault = faults.fault_in_words("Overloaded", "this machine has no free file handle", retry_after=2)
    fault.cause = "descriptors"
    return fault


def certificate_cause(error: BaseException) -> str:
    """Describe why `error` refuses the certificate, with OpenSSL's own reason."""
    words = _CERTIFICATE_CAUSES.get(getattr(error, "verify_code", 0), "certificate is not valid")
    reason = getattr(error, "verify_message", "")
    return f"{words} ({reason.rstrip('.')})" if reason else words


def _handshake_cause(reason: str | None) -> str:
    if reason in _NOT_TLS:
        return "it does not speak TLS"
    words = (reason or "").lower().replace("_", " ")
    return f"the handshake failed ({words})" if words else "the handshake failed"


def connection_cause(error: OSError) -> str:
    """Why there is no connection."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    number = inner.errno
    if number is None and isinstance(inner, ConnectionResetError):
        number = errno.ECONNRESET
    # If several addresses failed in several ways, errno is lost and the text names them all.
    fallback = "connection refused" if "refused" in str(inner).lower() else "the connection failed"
    return _CAUSES.get(number or 0, fallback)


def _name_cause(error: OSError) -> str:
    if isinstance(error, AddressRefused):
        return str(error)
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return "name does not resolve: the name server gives no answer"
    return "name does not resolve"


def _may_pass(error: BaseException) -> bool:
    """Connection errors may pass; a refused address, a bad certificate, a slow or a garbled answer will not."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return not isinstance(error.os_error, AddressRefused)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return True
    if isinstance(error, (TimeoutError, ssl.SSLError, aiohttp.ClientSSLError)):
        return False
    return isinstance(error, (aiohttp.ClientConnectionError, OSError))


def _safe_cause(error: BaseException) -> BaseException | None:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # Its message is what the upstream had sent so far, headers and all.
        return None
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL, aiohttp.ConnectionTimeoutError)):
        return None
    return error if isinstance(error, (OSError, aiohttp.ClientPayloadError)) else None
