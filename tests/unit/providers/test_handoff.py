"""A handoff that the operator writes reads back unchanged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pullgate.policy.tenancy import ENTRIES, parse_networks
from pullgate.providers.credentials import Credentials
from pullgate.providers.handoff import (
    Handoff,
    TokenKey,
    decode_handoff,
    decode_signing_keys,
    encode_handoff,
    encode_signing_keys,
    handoff_name,
    handoff_target,
    secret_document,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    "credentials",
    [None, Credentials("user", "pässword"), Credentials("user", "p", expires_at=NOW)],
)
@pytest.mark.parametrize("ca_pem", [None, "-----BEGIN CERTIFICATE-----\n"])
def test_a_handoff_reads_back_as_it_was(credentials: Credentials | None, ca_pem: str | None) -> None:
    handoff = Handoff("my-app", "quay", "uid", 3, credentials, ca_pem)
    document = encode_handoff(handoff)
    assert decode_handoff(document) == handoff
    assert document["metadata"]["namespace"] == "pullgate-system"
    assert handoff_target(document["metadata"]["name"]) == ("my-app", "quay")


def test_as_many_networks_as_an_annotation_may_name_reach_the_proxy() -> None:
    text = " ".join(["*", *(f"172.30.{n}.0/24" for n in range(ENTRIES - 1))])
    networks = parse_networks(text)
    assert len(networks) > ENTRIES, "the star is several"
    assert (
        decode_handoff(encode_handoff(Handoff("my-app", "quay", "uid", 3, None, networks=networks))).networks
        == networks
    )


def test_signing_keys_read_back_newest_first() -> None:
    old = TokenKey("a", b"a" * 32, NOW - timedelta(days=1), NOW)
    new = TokenKey("b", b"b" * 32, NOW, NOW + timedelta(days=1))
    assert decode_signing_keys(encode_signing_keys([old, new])) == (new, old)
    assert "aaaa" not in repr(old)


@pytest.mark.parametrize("name", ["proxy-signing-keys", "registry.a", "registry.a.b.c", "registry..b", "other.a.b"])
def test_another_secret_is_for_no_registry(name: str) -> None:
    assert handoff_target(name) is None
    assert handoff_target(handoff_name("a", "b")) == ("a", "b")


@pytest.mark.parametrize(
    "body", [b"{", b"{}", b'{"kind": "Basic", "password": "SECRET"}', b'{"kind": "SECRET"}', b"[]"]
)
def test_a_broken_handoff_is_told_without_its_content(body: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        decode_handoff(secret_document("pullgate-system", "registry.a.b", {"upstream.json": body}))
    assert "SECRET" not in str(caught.value)
