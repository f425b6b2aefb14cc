"""TLS for clients: verified as Go, curl and skopeo verify."""

from __future__ import annotations

import functools
import ssl


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


@functools.cache
def client_context() -> ssl.SSLContext:
    """The context that all clients without a CA of their own share."""
    return build_client_context()
