"""The field pages of the resources are in step with the CRDs, and their examples are valid."""

from __future__ import annotations

import pytest
import yaml

from pullgate.resources import parse_resource
from tests.support.field_pages import PAGES, ROOT, fill, read_schema, walk


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_of_its_crd(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert text == fill(page, text), "run `python -m tests.support.field_pages`"
    for part in ("spec", "status"):
        for path, *_ in walk(read_schema(PAGES[page], part)):
            assert f"| `{path}` |" in text


@pytest.mark.parametrize("page", PAGES)
def test_every_field_of_a_spec_has_a_meaning(page: str) -> None:
    described = {"name", "key"}  # a reference's own description says which
    for path, schema, _ in walk(read_schema(PAGES[page], "spec")):
        assert schema.get("description") or path.rpartition(".")[2] in described, path


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_a_page_is_a_valid_resource(page: str) -> None:
    example = (ROOT / "docs" / page).read_text().split("```yaml\n")[1].split("```")[0]
    resource, *_ = yaml.safe_load_all(example)
    assert resource["kind"].lower() == page.removesuffix(".md")
    parse_resource(resource)
