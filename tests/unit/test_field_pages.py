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


KEYWORDS = {
    "additionalProperties", "default", "description", "enum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "nullable", "oneOf", "pattern",
    "properties", "required", "type", "uniqueItems", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}  # fmt: skip


@pytest.mark.parametrize("plural", PAGES.values())
def test_a_crd_has_no_keyword_that_an_api_server_does_not_know(plural: str) -> None:
    """An unquoted comma in a description of a flow mapping makes one."""
    for part in ("spec", "status"):
        for path, schema, _ in walk(read_schema(plural, part)):
            assert set(schema) <= KEYWORDS, path
