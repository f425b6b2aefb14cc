"""The license file: a License's public facts and its key, signed with the vendor's Ed25519 key.

The file is YAML for people to read; its `signature` is a JWS (RFC 7515, EdDSA by RFC 8037) whose payload is the same
facts, so that anyone with the public key can check it offline. docs/license-file.md is the page for its readers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.exceptions import PyJWTError

from pullgate.licensing.claims import SIGNATURE_ALONE
from pullgate.oci.yaml_nodes import BrokenYAML, load_plain

API_VERSION = "pullgate.dev/v1alpha1"
KIND = "LicenseFile"
FILE_LIMIT = 256 * 1024
"""Bytes of a license file: a longer one is neither written nor read."""
_TYPE = "pullgate-license+jws"

# With libyaml ten times faster: an operator writes and reads one for each License.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class InvalidLicenseFile(ValueError):
    """A file that is no license file, was altered, or is signed by somebody else; the message says which."""


def new_signing_key() -> str:
    """A fresh Ed25519 private key, PEM (PKCS#8)."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(private_pem: str) -> str:
    """The public half of a private key, PEM."""
    return _private(private_pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign_license(facts: Mapping[str, Any], private_pem: str) -> str:
    """The file's text. `facts` are JSON values; they hold the key, so the file is as secret as it."""
    private = _private(private_pem)
    headers = {"typ": _TYPE, "kid": _fingerprint(private.public_key())}
    signature = jwt.encode(dict(facts), private, algorithm="EdDSA", headers=headers)
    document = {"apiVersion": API_VERSION, "kind": KIND, "license": dict(facts), "signature": signature}
    return str(yaml.dump(document, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=4096))


def verify_license(text: str, public_pems: Iterable[str]) -> dict[str, Any]:
    """The signed facts of a license file; dates are not judged here. Raises InvalidLicenseFile."""
    return verify_document(read_document(text), public_pems)


def verify_document(document: Mapping[str, Any], public_pems: Iterable[str]) -> dict[str, Any]:
    """The signed facts of a license file that was read. Raises InvalidLicenseFile."""
    signature = document.get("signature")
    if document.get("kind") != KIND or not isinstance(signature, str):
        raise InvalidLicenseFile("this is no license file: kind LicenseFile with a signature is expected")
    facts = _verify(signature, public_pems)
    if document.get("license") != facts:
        raise InvalidLicenseFile("the file was altered: what it says is not what was signed")
    return facts


def _verify(signature: str, public_pems: Iterable[str]) -> dict[str, Any]:
    for pem in public_pems:
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, Ed25519PublicKey):
            continue
        try:
            facts: dict[str, Any] = jwt.decode(signature, key, algorithms=["EdDSA"], options=SIGNATURE_ALONE)
        except (PyJWTError, RecursionError):  # its JSON may be as deep as it likes
            continue
        return facts
    raise InvalidLicenseFile("the signature is not of this vendor, or the file was altered")


def read_document(text: str) -> dict[str, Any]:
    """A license file as YAML, unverified. Raises InvalidLicenseFile."""
    if len(text) > FILE_LIMIT:
        raise InvalidLicenseFile("the file is too large for a license file")
    try:
        document = load_plain(text, _LOADER)
    except (yaml.YAMLError, BrokenYAML) as error:
        raise InvalidLicenseFile("the file is not YAML") from error
    if not isinstance(document, dict):
        raise InvalidLicenseFile("this is no license file")
    return document


def _private(pem: str) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("the license signing key is no Ed25519 key")
    return key


def _fingerprint(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]
