"""A certificate authority for one test run: good certificates, expired ones, ones for another name."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.2")


class Authority:
    """Signs server certificates. A client trusts them with `pem`, and refuses them without."""

    def __init__(self, name: str = "Pullgate test authority", *, identifiers: bool = True) -> None:
        """Without `identifiers` no certificate says which key signed it, as those of EKS's API servers."""
        self._identifiers = identifiers
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        now = datetime.now(UTC)
        builder = self._builder(self._name, self._key.public_key(), now - timedelta(days=30), now + timedelta(days=1))
        ca = x509.BasicConstraints(ca=True, path_length=0)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = builder.add_extension(ca, critical=True).add_extension(usage, critical=True)
        if identifiers:
            builder = builder.add_extension(self._identifier, critical=False)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> str:
        """The authority's certificate, for a CA bundle."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def server(self, names: Sequence[str] = LOOPBACK, *, expired: bool = False) -> ssl.SSLContext:
        """The TLS context of a server for `names` (DNS names and IP addresses)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = self.write_pair(Path(directory), names, expired=expired)
            context.load_cert_chain(certificate, key)
        return context

    def write_pair(
        self, directory: Path, names: Sequence[str] = LOOPBACK, *, expired: bool = False
    ) -> tuple[Path, Path]:
        """A new certificate and its key for `names`, as the PEM files tls.crt and tls.key of `directory`."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        end = now - timedelta(days=1) if expired else now + timedelta(hours=12)
        builder = self._builder(_name(names[0]), key.public_key(), now - timedelta(days=7), end)
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
        if self._identifiers:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
            builder = builder.add_extension(issuer, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        paths = directory / "tls.crt", directory / "tls.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, begin: datetime, end: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
