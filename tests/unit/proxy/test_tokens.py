"""A token proves which key was shown, for five minutes, and nothing else is taken for one."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import CredentialsMissing, TokenExpired
from pullgate_proxy.state.tokens import LIFETIME, SigningKey, SigningKeys

NOW = 1_800_000_000.0
KEY = SigningKey("one", b"1" * 32, NOW + 86400)
NEXT = SigningKey("two", b"2" * 32, NOW + 2 * 86400)
DIGEST = bytes(range(32))


def test_a_token_brings_back_the_keys_digest_until_it_ends() -> None:
    token = SigningKeys((KEY,)).issue(DIGEST, NOW)
    assert SigningKeys((KEY,)).verify(token, NOW + LIFETIME - 1) == (DIGEST, NOW + LIFETIME)
    with pytest.raises(TokenExpired):
        SigningKeys((KEY,)).verify(token, NOW + LIFETIME)


def test_a_token_outlives_the_rotation_of_its_signing_key_but_not_its_removal() -> None:
    token = SigningKeys((KEY,)).issue(DIGEST, NOW)
    assert SigningKeys((NEXT, KEY)).verify(token, NOW + 1)[0] == DIGEST
    with pytest.raises(TokenExpired):
        SigningKeys((NEXT,)).verify(token, NOW + 1)


def test_a_signing_key_verifies_nothing_after_its_end() -> None:
    old = SigningKey("one", KEY.secret, NOW + 10)
    token = SigningKeys((old,)).issue(DIGEST, NOW)
    with pytest.raises(TokenExpired):
        SigningKeys((old,)).verify(token, NOW + 11)


def test_a_token_without_a_signature_or_with_another_algorithm_is_refused() -> None:
    claims = {"iss": "pullgate", "exp": int(NOW) + 60, "key": base64.urlsafe_b64encode(DIGEST).decode().rstrip("=")}
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "one"}).encode()).decode().rstrip("=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    forged = jwt.encode(claims, b"1" * 64, algorithm="HS512", headers={"kid": "one"})
    for token in (f"{header}.{body}.", forged):
        with pytest.raises(TokenExpired):
            SigningKeys((KEY,)).verify(token, NOW)


def test_without_a_signing_key_nothing_is_issued() -> None:
    with pytest.raises(CredentialsMissing):
        SigningKeys().issue(DIGEST, NOW)


def test_a_signing_key_is_not_shown_in_its_repr() -> None:
    assert "111" not in repr(SigningKeys((KEY,)))


@given(st.text(max_size=300))
def test_no_text_but_a_token_verifies(text: str) -> None:
    with pytest.raises(TokenExpired):
        SigningKeys((KEY,)).verify(text, NOW)
