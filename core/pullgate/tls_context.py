"""TLS for clients: verified as Go, curl and skopeo verify."""

from __future__ import annotations

import functools
import re
import ssl
from pathlib import Path
from typing import Final

CA_LIMIT: Final = 1024 * 1024
"""Bytes of a CA file; a whole bundle of a distribution has 200 KiB."""
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATE: Final = re.compile(_BEGIN + rb"[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


class InvalidCA(ValueError):
    """A CA file that cannot be used; the message names it."""


def relax_strict(context: ssl.SSLContext) -> ssl.SSLContext:
    """Clear VERIFY_X509_STRICT in `context`, and return it; all other checks stay.

    Python 3.13 sets this flag by default. OpenSSL then refuses certificates without key identifiers, which Go, curl and
    skopeo accept: those of EKS's API server (kubernetes-client/python#2394) and of many private CAs.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def build_client_context(ca_pem: str | None = None) -> ssl.SSLContext:
    """A verifying context that trusts the system's CAs, and those of `ca_pem` in addition.

    Raises ssl.SSLError or ValueError if `ca_pem` holds no certificate.
    """
    context = relax_strict(ssl.create_default_context())
    context.set_alpn_protocols(["http/1.1"])
    if ca_pem is not None:
        context.load_verify_locations(cadata=ca_pem)
    return context


def read_ca_file(path: Path) -> str:
    """The certificates in a PEM file, without what else stands in it. Blocking. Raises InvalidCA."""
    try:
        with path.open("rb") as file:
            data = file.read(CA_LIMIT + 1)
    except OSError as error:
        raise InvalidCA(f"CA file {path} cannot be read: {error.strerror}") from error
    if len(data) > CA_LIMIT:
        raise InvalidCA(f"CA file {path} is larger than {CA_LIMIT // 1024} KiB; leave only the CA's certificates in it")
    found = _CERTIFICATE.findall(data)
    if _BEGIN not in data:
        raise InvalidCA(f"CA file {path} holds no certificate in PEM, which begins with {_BEGIN.decode()}")
    pem = b"\n".join(found).decode("ascii")
    try:
        build_client_context(pem)
    except (ssl.SSLError, ValueError):
        found = []
    if len(found) != data.count(_BEGIN):
        raise InvalidCA(f"CA file {path} holds a certificate that cannot be read; write it anew")
    return pem


@functools.cache
def client_context() -> ssl.SSLContext:
    """The context that all clients without a CA of their own share."""
    return build_client_context()
