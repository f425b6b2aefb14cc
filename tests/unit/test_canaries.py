"""The search for secrets finds them in each form in which they could be written."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from pullgate.licensing.keys import new_key
from tests.support.canaries import SECRETS, find_secret


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_in_every_form(secret: str) -> None:
    in_basic = [base64.b64encode(f"{user}:{secret}!".encode()).decode() for user in ("a", "ab", "abc")]
    for form in (secret, quote(secret, safe=""), *in_basic):
        assert find_secret(f"sent {form} to quay.io")


def test_a_license_key_is_found_and_what_is_none_is_not() -> None:
    assert find_secret(f"key {new_key()} was used")
    assert find_secret("license acme used key k7f3 at quay.io; Basic auth was refused") is None
