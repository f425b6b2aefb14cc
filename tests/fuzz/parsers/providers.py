"""The vendor's Secrets, what the operator hands on, and the logins of docker."""

from __future__ import annotations

import base64
import dataclasses
from datetime import UTC
from pathlib import Path
from typing import Any, Final, get_args

from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.providers.domain_claim import (
    CLAIM_LIMIT,
    DomainClaim,
    claim_name,
    claimed_domain,
    decode_claim,
    encode_claim,
)
from pullgate.providers.exchange import CredentialsInvalid, fingerprint
from pullgate.providers.exchanges.aws import EcrHost, parse_ecr_host
from pullgate.providers.handoff import (
    Handoff,
    TokenKey,
    decode_handoff,
    decode_signing_keys,
    encode_handoff,
    encode_signing_keys,
    handoff_name,
    handoff_target,
)
from pullgate.providers.resolve import resolve_credentials
from pullgate.providers.suspicion import suspect
from pullgate.resources.registry_type import TypeName
from pullgate_cli.gate.docker_config import DockerLogins, _host_of
from pullgate_cli.place.port import PlaceError
from pullgate_operator.plan.targets import Customer
from pullgate_operator.reconcile.sources import build_customer
from tests.fuzz.parsers.oci import _JSON_WORDS
from tests.fuzz.parsers.parser import LARGEST, Parser, drive, parts, text, wire

TYPES: Final = get_args(TypeName)
_SECRET_TYPES: Final = (
    "Opaque", "kubernetes.io/basic-auth", "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg",
)  # fmt: skip


def _resolve(data: bytes) -> Any:
    """The two first bytes choose the types."""
    registry_type = TYPES[data[0] % len(TYPES)] if data else TYPES[0]
    secret_type = _SECRET_TYPES[data[1] % len(_SECRET_TYPES)] if len(data) > 1 else _SECRET_TYPES[0]
    host, *rows = wire(data[2:]).split("\n")
    found: dict[str, bytes] = {}
    for row in rows:
        key, _, value = row.partition("=")
        found[key] = value.encode("utf-8", "surrogateescape").replace(b"\\n", b"\n")
    return registry_type, resolve_credentials(registry_type, secret_type, found, host)


def _resolved(found: Any) -> None:
    registry_type, credentials = found
    if not isinstance(credentials, Credentials):
        assert fingerprint(credentials)
        assert credentials.source
        return
    assert ":" not in credentials.username
    if len(credentials.password) >= 12 and credentials.password not in credentials.username:
        assert credentials.password not in (suspect(registry_type, credentials) or "")
        assert credentials.password not in repr(credentials)


def _ecr_host(found: EcrHost | None) -> None:
    if found is not None:
        assert len(found.account) == 12
        assert found.region.isascii()


def _document(data: bytes, key: str) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(data).decode()}}


def _handoff(handoff: Handoff) -> None:
    assert decode_handoff(encode_handoff(handoff)) == _to_the_second(handoff)


def _to_the_second(handoff: Handoff) -> Handoff:
    credentials, refreshed = handoff.credentials, handoff.refreshed_at
    if credentials is not None and credentials.expires_at is not None:
        credentials = dataclasses.replace(credentials, expires_at=credentials.expires_at.replace(microsecond=0))
    kept = bool(handoff.source) and refreshed is not None
    return dataclasses.replace(
        handoff,
        credentials=credentials,
        kind=handoff.kind if kept else "",
        source=handoff.source if kept else "",
        host=handoff.host if kept else "",
        refreshed_at=refreshed.replace(microsecond=0) if refreshed is not None and kept else None,
    )


def _signing_keys(keys: tuple[TokenKey, ...]) -> None:
    again = decode_signing_keys(encode_signing_keys(keys))
    assert sorted((k.id, k.key) for k in again) == sorted((k.id, k.key) for k in keys)
    assert all(k.not_after.tzinfo is UTC or k.not_after.utcoffset() is not None for k in again)


def _any_secret(data: bytes) -> dict[str, Any]:
    document = read_json(data)
    if not isinstance(document, dict):
        raise ValueError("no object")
    return document


def _target(data: bytes) -> tuple[str, tuple[str, str] | None]:
    return text(data), handoff_target(text(data))


def _handoff_target(found: tuple[str, tuple[str, str] | None]) -> None:
    name, target = found
    assert target is None or handoff_name(*target) == name


def _claim(data: bytes) -> DomainClaim:
    return decode_claim({"metadata": {"name": "domain.images.myapp.com"}, **_document(data, "claim.json")})


def _claimed(claim: DomainClaim) -> None:
    assert decode_claim(encode_claim(claim)) == claim
    assert len(str(encode_claim(claim))) < 2 * CLAIM_LIMIT


def _claimed_domain(data: bytes) -> tuple[str, str | None]:
    return text(data), claimed_domain(text(data))


def _domain_of_name(found: tuple[str, str | None]) -> None:
    name, domain = found
    assert domain is None or (claim_name(domain) == name and handoff_target(name) is None)


def _find_login(data: bytes) -> Credentials | None:
    """Without helpers, which are programs."""
    host, body = parts(data, 2)
    logins = DockerLogins.read(body.encode("utf-8", "surrogateescape"), Path("config.json"))
    logins._config.pop("credsStore", None)
    logins._config.pop("credHelpers", None)
    found: Credentials | None = drive(logins.find(host))
    return found


def _login(found: Credentials | None) -> None:
    if found is not None:
        assert found.username
        assert found.password


def _customer(data: bytes) -> Customer:
    return build_customer("acme", _document(data, ".dockerconfigjson"), "https://images.example.com", ())


def _reached(customer: Customer) -> None:
    assert customer.proxies
    for config in customer.proxies.values():
        assert config.pullgate
        assert config.credentials is not None


_CONFIG_WORDS: Final = (
    b'{"auths":{"quay.io":{', b'"https://index.docker.io/v1/":{', b'"auth":"dTpw"', b'"username":"u"',
    b'"password":"p"',
    b'"identitytoken":"a"', *_JSON_WORDS,
)  # fmt: skip

PARSERS: Final = (
    Parser(
        "vendor-secret", _resolve, (CredentialsInvalid,), _resolved,
        (b"quay.io\n", b"username=", b"password=", b"token=", b"\n", b".dockerconfigjson=", b".dockercfg=",
         b"accessKeyID=",
         b"secretAccessKey=", b"region=eu-central-1", b"serviceAccountKey=", b"clientID=", b"clientSecret=",
         b"tenantID=",
         b"appID=", b"installationID=", b"privateKey=", b"apiURL=https://", b"-----BEGIN PRIVATE KEY-----",
         b"${TOKEN}",
         *_CONFIG_WORDS),
        LARGEST, is_json=True,
    ),
    Parser(
        "ecr-host", lambda data: parse_ecr_host(text(data)), (), _ecr_host,
        (b"123456789012", b".dkr", b".ecr", b"-ecr", b"-fips", b".eu-central-1", b".amazonaws.com", b".cn",
         b".on.aws", b":443"),
    ),
    Parser(
        "handoff", lambda data: decode_handoff(_document(data, "upstream.json")), (ValueError,), _handoff,
        (b'{"namespace":"a","name":"b","uid":"c","generation":1', b'"kind":"Basic"', b'"username":', b'"password":',
         b'"expiresAt":"2027-01-01T00:00:00Z"', b'"issued":{"kind":"a","source":"b","at":', b'"caPEM":',
         *_JSON_WORDS),
        LARGEST, is_json=True,
    ),
    Parser(
        "handoff-document", lambda data: decode_handoff(_any_secret(data)), (ValueError,), _handoff,
        (b'{"data":{"upstream.json":', b'"e30="', b'"', *_JSON_WORDS), LARGEST, is_json=True,
    ),
    Parser(
        "domain-claim", _claim, (ValueError,), _claimed,
        (b'{"namespace":"a","name":"b","uid":"c"', b',"since":"2027-01-01T00:00:00Z"}', b'"since":', b'"uid":',
         *_JSON_WORDS),
        LARGEST, is_json=True,
    ),
    Parser(
        "domain-claim-document", lambda data: decode_claim(_any_secret(data)), (ValueError,), _claimed,
        (b'{"metadata":{"name":"domain.a.b"},', b'"data":{"claim.json":', b'"e30="', b'"', *_JSON_WORDS),
        LARGEST, is_json=True,
    ),
    Parser("domain-claim-name", _claimed_domain, (), _domain_of_name, (b"domain.", b".", b"a", b"A", b"1", b"\n")),
    Parser("handoff-name", _target, (), _handoff_target, (b"registry", b".", b"a", b"\n")),
    Parser(
        "signing-keys", lambda data: decode_signing_keys(_document(data, "keys.json")), (ValueError,), _signing_keys,
        (b'[{"id":"a"', b'"key":"' + b"A" * 43 + b'"', b'"createdAt":"2026-01-01T00:00:00Z"',
         b'"notAfter":"2027-01-01T00:00:00Z"', *_JSON_WORDS),
        LARGEST, is_json=True,
    ),
    Parser(
        "docker-config", _find_login, (PlaceError,), _login,
        (b"quay.io\n", b"docker.io\n", *_CONFIG_WORDS), LARGEST, is_json=True,
    ),
    Parser("docker-host", lambda data: _host_of(text(data)), (), lambda host: host.encode(errors="replace"), (b"://",
        b"/", b":")),
    Parser("pull-secret", _customer, (ValueError,), _reached, _CONFIG_WORDS, LARGEST, is_json=True),
)  # fmt: skip
