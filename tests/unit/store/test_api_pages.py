"""A page of the API server is read item by item, so that no page holds the interpreter for longer than an item does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pullgate.store.cluster.api import read_page


def go_json(value: Any) -> bytes:
    """As Go's encoder writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


TRICKY = {"metadata": {"name": "a", "annotations": {"x": '"items":[', "y": "é]"}}, "items": [1, [2]], "spec": [[]]}
METADATA = {"resourceVersion": "7", "continue": "abc"}


@pytest.mark.parametrize("items", [[], [TRICKY], [TRICKY] * 3, None])
def test_a_page_is_what_it_says(items: list[Any] | None) -> None:
    page = {"kind": "SecretList", "apiVersion": "v1", "metadata": METADATA, "items": items}
    assert read_page(go_json(page)) == page


@pytest.mark.parametrize("cut", [1, 10, 60, 100])
def test_a_page_that_breaks_off_is_no_page(cut: int) -> None:
    whole = go_json({"kind": "SecretList", "metadata": METADATA, "items": [TRICKY] * 2})
    with pytest.raises(json.JSONDecodeError):
        read_page(whole[:-cut])
