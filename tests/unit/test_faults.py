"""The faults table: every row of the design has its class, and no message can break what carries it."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullgate.clean_text import FORBIDDEN
from pullgate.faults import FAULTS, MESSAGE_LIMIT, Actor, Fault, ascii_text, fault_in_words, plain_text

TABLE = {
    "LoginRequired": (401, "UNAUTHORIZED"),
    "KeyMalformed": (401, "UNAUTHORIZED"),
    "KeyUnknown": (403, "DENIED"),
    "KeyRotated": (403, "DENIED"),
    "KeyRevoked": (403, "DENIED"),
    "LicenseExpired": (403, "DENIED"),
    "LicenseNotYetValid": (403, "DENIED"),
    "LicenseSuspended": (403, "DENIED"),
    "NotEntitled": (403, "DENIED"),
    "ProofPending": (503, "UNAVAILABLE"),
    "LimitReached": (429, "TOOMANYREQUESTS"),
    "TooManyTests": (429, "TOOMANYREQUESTS"),
    "TooManyAttempts": (429, "TOOMANYREQUESTS"),
    "TokenExpired": (401, "UNAUTHORIZED"),
    "PathInvalid": (404, "NAME_INVALID"),
    "ReferenceInvalid": (400, "MANIFEST_INVALID"),
    "DigestInvalid": (400, "DIGEST_INVALID"),
    "ReadOnly": (405, "UNSUPPORTED"),
    "RegistrySuspended": (503, "UNAVAILABLE"),
    "CredentialsMissing": (503, "UNAVAILABLE"),
    "UpstreamUnauthorized": (403, "DENIED"),
    "UpstreamForbidden": (403, "DENIED"),
    "ManifestUnknown": (404, "MANIFEST_UNKNOWN"),
    "BlobUnknown": (404, "BLOB_UNKNOWN"),
    "RepositoryUnknown": (404, "NAME_UNKNOWN"),
    "UpstreamRateLimited": (429, "TOOMANYREQUESTS"),
    "UpstreamUnreachable": (503, "UNAVAILABLE"),
    "UpstreamTLS": (503, "UNAVAILABLE"),
    "UpstreamTimeout": (504, "UNAVAILABLE"),
    "UpstreamError": (502, "UNAVAILABLE"),
    "UpstreamProtocol": (502, "UNAVAILABLE"),
    "DigestMismatch": (502, "UNAVAILABLE"),
    "RealmRefused": (502, "UNAVAILABLE"),
    "RedirectRefused": (502, "UNAVAILABLE"),
    "ShuttingDown": (503, "UNAVAILABLE"),
    "Overloaded": (503, "UNAVAILABLE"),
    "Internal": (500, "UNKNOWN"),
}


def build(name: str, text: str, number: float, moment: datetime) -> Fault:
    """An instance of a fault with `text` in every place that takes one."""
    fault = FAULTS[name]
    arguments: dict[str, Any] = {}
    for parameter in list(inspect.signature(fault.__init__).parameters.values())[1:]:
        kind = str(parameter.annotation)
        if kind.startswith("str"):
            arguments[parameter.name] = text
        elif kind in {"float", "int"}:
            arguments[parameter.name] = number
        elif kind == "datetime":
            arguments[parameter.name] = moment
    return fault(**arguments)


def test_the_table_is_the_designs_row_for_row() -> None:
    assert {name: (fault.status, fault.code) for name, fault in FAULTS.items()} == TABLE


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_says_whose_move_it_is_and_is_described(name: str) -> None:
    assert FAULTS[name].reason == name
    assert FAULTS[name].actors
    assert set(FAULTS[name].actors) <= set(Actor)
    assert FAULTS[name].__doc__


@pytest.mark.parametrize("name", FAULTS)
@settings(deadline=None)
@given(text=st.text(max_size=400), number=st.floats(0, 1e6), moment=st.datetimes(timezones=st.just(UTC)))
def test_no_input_breaks_a_reason_phrase_a_body_or_a_challenge(
    name: str, text: str, number: float, moment: datetime
) -> None:
    fault = build(name, text, number, moment)
    for words in (fault.message, fault.hint, fault.sentence):
        assert len(words) <= MESSAGE_LIMIT
        assert FORBIDDEN.search(words) is None
        in_ascii = ascii_text(words)
        assert len(in_ascii) <= MESSAGE_LIMIT
        assert in_ascii.isascii()
        assert in_ascii.isprintable()
        assert not set('"\\`') & set(in_ascii)


@pytest.mark.parametrize(
    ("said", "shown", "in_ascii"),
    [
        ("the vendor's key", "the vendor's key", "the vendor's key"),
        ("77 – ärger", "77 – ärger", "77 - arger"),
        ("naïve ﬁle №5", "naïve ﬁle №5", "naive file No5"),
        ("請求書 77", "請求書 77", "??? 77"),
        ('ärger "x"', 'ärger "x"', "arger x"),
        ("می‌خواهم 👩‍🚀", "می‌خواهم 👩‍🚀", "??????? ??"),
        ('a "b" \\ `c`\r\nd\x1b[1m\u202e', 'a "b" \\ `c` d [1m', "a b c d [1m"),
    ],
)
def test_letters_and_quotes_stay_and_a_header_gets_their_nearest_ascii(said: str, shown: str, in_ascii: str) -> None:
    assert plain_text(said) == shown
    assert ascii_text(said) == in_ascii


def test_no_message_of_the_table_lacks_an_apostrophe() -> None:
    """A possessive that lost its apostrophe reads as a plural, or as two words."""
    lost = re.compile(r"\b(vendors|customers|proxys|registrys) [a-z]|\b[a-z]+ s [a-z]")
    for name in FAULTS:
        fault = build(name, "x", 3600, datetime.now(UTC))
        assert lost.search(fault.sentence) is None, fault.sentence


def test_a_hint_goes_before_the_message_is_cut() -> None:
    fault = Fault("m" * 190, hint="h" * 50)
    assert fault.sentence == "m" * 190
    assert Fault("short", hint="do this").sentence == "short; do this"


@given(st.text())
def test_plain_text_is_stable(text: str) -> None:
    assert plain_text(plain_text(text)) == plain_text(text)


def test_a_login_turns_a_denial_into_a_401_and_nothing_else() -> None:
    denied, missing = (
        build("LicenseExpired", "x", 1, datetime.now(UTC)),
        build("CredentialsMissing", "x", 1, datetime.now(UTC)),
    )
    denied.turn_into_login_refusal()
    missing.turn_into_login_refusal()
    assert (denied.status, denied.code) == (401, "UNAUTHORIZED")
    assert missing.status == 503


@pytest.mark.parametrize("name", TABLE)
def test_a_fault_can_be_told_in_the_words_of_another_proxy(name: str) -> None:
    fault = fault_in_words(name, 'what it "said"', retry_after=7)
    assert type(fault) is FAULTS[name]
    assert (fault.message, fault.hint, fault.retry_after) == ('what it "said"', fault.default_hint, 7)
    assert str(fault) == fault.message
    assert fault_in_words(name, "x", hint="y").sentence == "x; y"
