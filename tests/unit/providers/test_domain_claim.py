"""The record of who holds a domain reads back as it was; what is broken is refused in words that quote nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pullgate.policy.domains import LONGEST, why_reserved
from pullgate.providers.domain_claim import (
    CLAIM_LIMIT,
    DomainClaim,
    claim_name,
    claimed_domain,
    decode_claim,
    encode_claim,
)
from pullgate.providers.handoff import SYSTEM_NAMESPACE, handoff_target, secret_document
from pullgate.resources.fields import is_subdomain

CLAIM = DomainClaim("images.myapp.com", "my-app", "quay", "0b7c", datetime(2026, 11, 24, tzinfo=UTC))
BODY = {"namespace": "my-app", "name": "quay", "uid": "0b7c", "since": "2026-11-24T00:00:00Z"}


def document(body: bytes, name: str = "domain.images.myapp.com") -> dict[str, Any]:
    return secret_document(SYSTEM_NAMESPACE, name, {"claim.json": body})


def test_a_claim_reads_back_as_it_was() -> None:
    encoded = encode_claim(CLAIM)
    assert decode_claim(encoded) == CLAIM
    assert encoded["metadata"]["namespace"] == SYSTEM_NAMESPACE
    assert claimed_domain(encoded["metadata"]["name"]) == "images.myapp.com"
    assert decode_claim(document(json.dumps(BODY).encode())) == CLAIM


@pytest.mark.parametrize("name", ["proxy-signing-keys", "registry.a.b", "domain.", "domain.images", "domain.10.0.0.1"])
def test_another_secret_is_about_no_domain(name: str) -> None:
    assert claimed_domain(name) is None
    with pytest.raises(ValueError, match="not named after a domain"):
        decode_claim(document(json.dumps(BODY).encode(), name))
    assert handoff_target(claim_name("a.b")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        json.dumps({**BODY, "uid": 7}).encode(),
        json.dumps({**BODY, "uid": "SECRET" * 30}).encode(),
        json.dumps({**BODY, "namespace": "SECRET"}).encode(),
        json.dumps({**BODY, "name": "SECRET/.."}).encode(),
        json.dumps({**BODY, "since": "SECRET"}).encode(),
        json.dumps({**BODY, "more": "x" * CLAIM_LIMIT}).encode(),
    ],
)
def test_a_broken_claim_is_refused_without_its_content(body: bytes) -> None:
    with pytest.raises(ValueError) as caught:
        decode_claim(document(body))
    assert "SECRET" not in str(caught.value)


def test_the_longest_domain_that_can_be_claimed_makes_a_name_of_a_secret() -> None:
    longest = ("a" * 59 + ".") * 4 + "a" * (LONGEST - 240)
    assert len(longest) == LONGEST
    assert not why_reserved(longest, "images.example.com")
    assert is_subdomain(claim_name(longest))
    assert why_reserved(longest + "a", "images.example.com")
