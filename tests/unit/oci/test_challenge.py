"""Challenges as real registries send them, and as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.oci.challenge import CHALLENGE_LIMIT, Challenge, format_challenge, parse_challenges


def parse(*fields: str) -> list[tuple[str, dict[str, str]]]:
    return [(c.scheme, dict(c.parameters)) for c in parse_challenges(fields)]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:a/b:pull,push",
            },
        ),
        (
            'Bearer realm="https://quay.io/v2/auth",service="quay.io"',
            {"realm": "https://quay.io/v2/auth", "service": "quay.io"},
        ),
        (
            'Bearer realm="https://x/service/token" , service=harbor-registry',
            {"realm": "https://x/service/token", "service": "harbor-registry"},
        ),
        ('bearer REALM="https://x"', {"realm": "https://x"}),
        ('Bearer realm="a \\"quoted\\" \\\\ one"', {"realm": 'a "quoted" \\ one'}),
    ],
)
def test_a_bearer_challenge_is_read(field: str, expected: dict[str, str]) -> None:
    assert parse(field) == [("bearer", expected)]


def test_several_challenges_in_one_field_or_in_many_are_all_read() -> None:
    expected = [("basic", {"realm": "x"}), ("bearer", {"realm": "https://y", "service": "z"})]
    assert parse('Basic realm="x", Bearer realm="https://y",service="z"') == expected
    assert parse('Basic realm="x"', 'Bearer realm="https://y",service="z"') == expected
    assert parse(', ,Negotiate, Basic realm="x"') == [("negotiate", {}), ("basic", {"realm": "x"})]
    assert parse('Negotiate dG9rZW4=, Basic realm="x"') == [("negotiate", {}), ("basic", {"realm": "x"})]


def test_of_a_repeated_parameter_the_first_counts() -> None:
    assert parse('Bearer realm="https://a",realm="https://evil"') == [("bearer", {"realm": "https://a"})]


@pytest.mark.parametrize(
    "field", ["", "=", '"', 'Bearer realm="unterminated', "Bearer realm=", "\x00", 'Bearer realm="a\nb"']
)
def test_malformed_input_is_skipped_and_never_raises(field: str) -> None:
    assert all("\n" not in value for _, parameters in parse(field) for value in parameters.values())


def test_length_and_number_are_bounded() -> None:
    assert parse("Bearer realm=" + "x" * 9000) == []
    assert len(parse(*["Basic"] * 100)) == CHALLENGE_LIMIT


@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_fields_are_read_without_raising(fields: list[str]) -> None:
    parse_challenges(fields)


TOKEN = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
VALUE = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


@given(TOKEN, st.dictionaries(TOKEN, VALUE, min_size=1, max_size=4))
def test_what_is_formatted_reads_back(scheme: str, parameters: dict[str, str]) -> None:
    assert parse_challenges([format_challenge(scheme, parameters)]) == [Challenge(scheme, parameters)]
