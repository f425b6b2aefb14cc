"""docs/adding-a-type.md is right: its file makes a type that logs in, is guided, and tells what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pullgate.providers.guide import UNFILLED, render_guide, render_yaml
from pullgate.providers.provider import PASSWORD, TOKEN, Provider

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-type.md"


def example() -> Provider:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(code) == 1
    found: dict[str, Any] = {}
    exec(code[0], found)
    (provider,) = found["PROVIDERS"]
    assert isinstance(provider, Provider)
    return provider


def test_the_file_of_the_page_makes_a_type() -> None:
    provider = example()
    assert provider.type == "Gitea"
    assert provider.ways == (PASSWORD, TOKEN)
    assert provider.suspect is not None
    assert "read:package" in (provider.suspect("u", "secret", "h") or "")
    assert provider.suspect("u", "a" * 40, "h") is None
    text = render_guide(provider.guide, {"name": "gitea", "app": "my-app", "host": "h", "repository": "r"})
    assert not UNFILLED.search(text)
    assert "type: Gitea" in render_yaml(provider.guide)


def test_the_page_names_every_field_of_a_provider() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M)
    assert rows == list(Provider.__dataclass_fields__)
