"""Plain values of YAML are finite, and a value that PyYAML cannot make is reported as broken YAML."""

from __future__ import annotations

import pytest
import yaml

from pullgate.oci.yaml_nodes import BrokenYAML, load_plain

LOADER = yaml.CSafeLoader
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join([f'*{before}'] * 10)}]\n" for before, c in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("text", [LAUGHS, "&a [*a]", "&a {b: {c: *a}}", "- &a [1]\n- &b [*a, *b]\n"])
def test_aliases_that_make_a_value_endless_or_huge_are_refused(text: str) -> None:
    with pytest.raises(BrokenYAML):
        load_plain(text, LOADER)


def test_an_alias_may_repeat_what_stands_before_it() -> None:
    assert load_plain("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a}\n", LOADER)["d"] == {"b": [1, 2]}


def test_much_that_is_written_out_may_be_much() -> None:
    text = "anchor: &a ['*']\nall:\n" + "- {a: 1, b: '*'}\n" * 60_000
    assert len(load_plain(text, LOADER)["all"]) == 60_000


@pytest.mark.parametrize(
    "text", ["!!int x", "!!float ''", "!!bool x", "!!timestamp x", "0x_", "2026-99-99", "9" * 5000, "[" * 30_000]
)
def test_a_value_that_is_not_what_it_looks_like_is_told(text: str) -> None:
    with pytest.raises(BrokenYAML) as caught:
        load_plain(text, LOADER)
    assert text[:20] not in str(caught.value)
