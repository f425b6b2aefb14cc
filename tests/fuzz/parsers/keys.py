"""A private key that is the same in every run."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def _pem(key: object) -> str:
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return written.decode()


ED25519_PEM: Final = _pem(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
"""Seeds are signed with it."""
