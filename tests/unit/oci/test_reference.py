"""References are read as docker reads them; docker-image-py is the oracle."""

from __future__ import annotations

import re

import pytest
from docker_image import reference as oracle
from hypothesis import given
from hypothesis import strategies as st

from pullgate.oci.reference import InvalidReference, Reference, is_repository, is_tag, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", Reference("docker.io", "library/nginx")),
        ("my-org/api:1", Reference("docker.io", "my-org/api", "1")),
        ("index.docker.io/my-org/api", Reference("docker.io", "my-org/api")),
        ("quay.io/my-org/api:1.4.0", Reference("quay.io", "my-org/api", "1.4.0")),
        (f"quay.io/my-org/api:1@{DIGEST}", Reference("quay.io", "my-org/api", "1", DIGEST)),
        ("localhost/api", Reference("localhost", "api")),
        ("localhost:5000/a/b/c:x", Reference("localhost:5000", "a/b/c", "x")),
        ("[::1]:5000/a:x", Reference("[::1]:5000", "a", "x")),
        ("QUAY.io/a/b", Reference("quay.io", "a/b")),
    ],
)
def test_a_reference_is_normalized_as_docker_does(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert parse_reference(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a b", "quay.io/", "quay.io/A/b", "quay.io/a:", "quay.io/a@sha256:x", "quay.io/a//b", "quay.io/a:1\n", "-a/b",
     "quay.io/a/../b", "quay.io/a:" + "x" * 129, "x" * 2000, "quay.io/é", "quay.io:port/a"],
)  # fmt: skip
def test_what_is_no_reference_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert "\n" not in str(caught.value)


PIECES = st.lists(
    st.sampled_from(["a", "b1", "my-org", "api", "quay.io", "localhost", ":5000", ":1.0", "/", "/", "@", DIGEST]),
    min_size=1,
    max_size=8,
).map("".join)  # fmt: skip


@given(PIECES)
def test_it_agrees_with_the_oracle(text: str) -> None:
    try:
        ours: Reference | None = parse_reference(text)
    except InvalidReference:
        ours = None
    try:
        theirs = oracle.Reference.parse_normalized_named(text)
        host, repository = theirs.split_hostname()
    except Exception:  # noqa: BLE001 - it raises many kinds
        theirs = None
    if ours is None or theirs is None:
        # The oracle knows the grammar of a host less strictly, and bounds lengths elsewhere.
        assert ours is None or theirs is not None or not re.fullmatch(r"[a-z0-9/.:-]+", text)
        return
    assert (ours.host, ours.repository) == (host, repository)
    assert ours.tag == theirs["tag"]


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_is_refused(text: str) -> None:
    try:
        parsed = parse_reference(text)
    except InvalidReference:
        return
    assert is_repository(parsed.repository)
    assert parsed.tag is None or is_tag(parsed.tag)


@pytest.mark.parametrize("name", ["a", "a/b", "a.b", "a_b", "a__b", "a-b", "a--b", "a/b-c/d.e", "0"])
def test_a_name_of_the_spec_is_a_repository(name: str) -> None:
    assert is_repository(name)


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "A", "a..b", "a___b", ".a", "a.", "a/./b", "a\n", "a" * 256])
def test_a_name_outside_the_spec_is_none(name: str) -> None:
    assert not is_repository(name)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a" * 129, "a/b", "a b", "a\n", "é"])
def test_a_tag_outside_the_spec_is_none(tag: str) -> None:
    assert not is_tag(tag)
