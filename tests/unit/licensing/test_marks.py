"""A test mark is of one License, for five minutes, and is nothing else; nothing else is a mark."""

from __future__ import annotations

from dataclasses import replace

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import TokenExpired
from pullgate.licensing.marks import (
    LIFETIME,
    SKEW,
    Marker,
    decode_mark_key,
    derive_mark_key,
    encode_mark_key,
    is_mark_of,
)
from pullgate_proxy.state.tokens import SigningKey, SigningKeys

NOW = 1_800_000_000.0
KEY = SigningKey("one", b"1" * 32, NOW + 86400)
NEXT = SigningKey("two", b"2" * 32, NOW + 2 * 86400)
KEYS = SigningKeys((KEY,))
DERIVED = derive_mark_key(KEY.id, KEY.secret, "my-app")
MARKER = Marker(DERIVED, "my-app", "acme")


def verifies(mark: str, keys: SigningKeys = KEYS, *, now: float = NOW, **of: str) -> bool:
    name = {"namespace": "my-app", "license_": "acme", **of}
    return keys.verifies_mark(mark, now=now, **name)


def test_a_mark_is_of_its_license_until_it_ends() -> None:
    mark = MARKER.make(NOW)
    assert verifies(mark)
    assert verifies(mark, now=NOW + LIFETIME - 1)
    assert not verifies(mark, now=NOW + LIFETIME)
    assert not verifies(mark, license_="other")
    assert not verifies(mark, namespace="other-app")


def test_the_key_of_a_namespace_marks_nothing_of_another_one() -> None:
    assert not verifies(Marker(DERIVED, "other-app", "acme").make(NOW), namespace="other-app")


def test_the_holder_of_a_key_does_not_choose_how_long_a_mark_lives() -> None:
    assert verifies(MARKER.make(NOW + SKEW)), "its clock is a minute ahead"
    assert not verifies(MARKER.make(NOW + SKEW + 1))
    assert not verifies(MARKER.make(NOW + 365 * 86400))


def test_a_mark_outlives_the_rotation_of_its_key_but_not_its_removal() -> None:
    mark = MARKER.make(NOW)
    assert verifies(mark, SigningKeys((NEXT, KEY)))
    assert not verifies(mark, SigningKeys((NEXT,)))
    assert not verifies(mark, SigningKeys((replace(KEY, not_after=NOW),)))
    assert not verifies(mark, SigningKeys())


def test_neither_tokens_nor_tickets_are_marks_nor_marks_tokens_or_tickets() -> None:
    keys, mark = SigningKeys((KEY,)), MARKER.make(NOW)
    for other in (keys.issue(bytes(32), NOW), keys.issue_ticket("my-app/acme", NOW)):
        assert not verifies(other)
    with pytest.raises(TokenExpired):
        keys.verify(mark, NOW)
    assert not keys.verifies_ticket(mark, "my-app/acme", NOW)


def test_the_right_claims_under_the_key_of_the_tokens_are_no_mark_nor_are_other_claims_under_its_own() -> None:
    claims = {"iss": "pullgate-test", "exp": int(NOW) + 60, "sub": "my-app/acme"}
    headers = {"kid": KEY.id}
    assert verifies(jwt.encode(claims, DERIVED.secret, algorithm="HS256", headers=headers))
    assert not verifies(jwt.encode(claims, KEY.secret, algorithm="HS256", headers=headers))
    for other in ({"iss": "pullgate"}, {"iss": "pullgate-peer"}, {"sub": "my-app"}, {"exp": None}, {"exp": "9" * 400}):
        assert not verifies(jwt.encode({**claims, **other}, DERIVED.secret, algorithm="HS256", headers=headers))
    assert not verifies(jwt.encode(claims, "", algorithm="none", headers=headers))


@given(st.text(max_size=2000))
def test_anything_else_is_no_mark(text: str) -> None:
    assert not verifies(text)
    assert not is_mark_of(text, DERIVED, "my-app", "acme", NOW)


def test_the_secret_brings_back_the_key_and_no_repr_shows_it() -> None:
    assert decode_mark_key(encode_mark_key(DERIVED)) == DERIVED
    assert DERIVED.secret.hex() not in repr(MARKER)
    assert repr(DERIVED.secret) not in repr(MARKER)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"id": "a", "key": 1}', b'{"id": "a", "key": "AAAA"}'])
def test_a_secret_that_holds_no_key_is_refused_without_its_content(text: bytes) -> None:
    with pytest.raises(ValueError, match="holds no key for test marks"):
        decode_mark_key({"key.json": text})
