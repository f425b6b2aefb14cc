"""Mistyped keys and altered license files are recognized."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import KeyMalformed
from pullgate.licensing.keys import check_key, digest_text, key_digest, new_key
from pullgate.licensing.license_file import (
    InvalidLicenseFile,
    new_signing_key,
    public_pem,
    sign_license,
    verify_license,
)

KEY = new_key()
FACTS = {"app": "my-app", "name": "acme", "key": "pgk_x", "expiresAt": "2027-01-01T00:00:00Z", "exp": 1}


def test_keys_are_well_formed_random_and_of_one_length() -> None:
    keys = {new_key() for _ in range(200)}
    assert len(keys) == 200
    assert {len(key) for key in keys} == {53}
    for key in keys:
        check_key(key)


@given(st.integers(4, 52), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_every_single_wrong_character_is_a_typing_mistake(position: int, character: str) -> None:
    mistyped = KEY[:position] + character + KEY[position + 1 :]
    if mistyped != KEY:
        with pytest.raises(KeyMalformed, match="cut or mistyped"):
            check_key(mistyped)


@given(st.integers(4, 52))
def test_a_cut_key_is_a_typing_mistake(length: int) -> None:
    with pytest.raises(KeyMalformed, match="cut or mistyped"):
        check_key(KEY[:length])


@given(st.text(max_size=60))
def test_any_other_password_is_no_key(text: str) -> None:
    with pytest.raises(KeyMalformed) as caught:
        check_key(text)
    assert (
        text not in caught.value.message
        or len(text) < 4
        or text in "the password is not a license key: these begin with"
    )


def test_a_keys_digest_is_its_sha256() -> None:
    assert digest_text(key_digest("abc")) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_license_file_reads_back_with_the_vendors_public_key() -> None:
    private = new_signing_key()
    text = sign_license(FACTS, private)
    assert verify_license(text, [public_pem(new_signing_key()), public_pem(private)]) == FACTS
    assert "PRIVATE" not in text


def test_an_altered_or_foreign_license_file_is_refused() -> None:
    private = new_signing_key()
    public = [public_pem(private)]
    text = sign_license(FACTS, private)
    altered = text.replace("2027-01-01", "2037-01-01")
    with pytest.raises(InvalidLicenseFile, match="altered"):
        verify_license(altered, public)
    with pytest.raises(InvalidLicenseFile, match="not of this vendor"):
        verify_license(text, [public_pem(new_signing_key())])
    header, payload, _ = yaml.safe_load(text)["signature"].split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    for forged in (f"{none}.{payload}.", f"{header}.{payload}.", "x"):
        with pytest.raises(InvalidLicenseFile):
            verify_license(yaml.safe_dump({"kind": "LicenseFile", "license": FACTS, "signature": forged}), public)


@given(st.text(max_size=200))
def test_any_text_is_a_license_file_or_is_refused(text: str) -> None:
    with pytest.raises(InvalidLicenseFile):
        verify_license(text, [])
