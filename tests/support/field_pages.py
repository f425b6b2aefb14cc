"""`python -m tests.support.field_pages`: the tables in docs/{registry,license,imagetest}.md, from the CRDs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = {"registry.md": "registries", "license.md": "licenses", "imagetest.md": "imagetests"}
MARK = re.compile(r"<!-- fields of (spec|status) -->\n.*?<!-- end of fields -->", re.DOTALL)
Schema = dict[str, Any]


def read_schema(plural: str, part: str) -> Schema:
    """The schema of `spec` or `status` in a CRD."""
    crd = yaml.safe_load((ROOT / "deploy" / "crds" / f"{plural}.pullgate.dev.yaml").read_text())
    properties: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found: Schema = properties[part]
    return found


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """(path, schema, True if it is required) of each field below `schema`, parents first."""
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, field, name in required
        items = field.get("items")
        if name == "conditions":
            continue  # Kubernetes' own: type, status, reason, message, observedGeneration, lastTransitionTime
        if items is not None:
            yield from walk(items, f"{here}[]")
        else:
            yield from walk(field, here)


def describe_type(schema: Schema) -> str:
    """The type as a reader writes it: `string`, `list of string`, or the words of an enumeration."""
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {describe_type(schema['items'])}"
    if "additionalProperties" in schema:
        return "map"
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(schema.get("format") or schema.get("type", "object"))


def render_table(plural: str, part: str) -> str:
    """The table of the fields of `spec` or `status`."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for path, schema, required in walk(read_schema(plural, part)):
        default = f"`{json.dumps(schema['default'])}`" if schema.get("default") not in (None, "", {}, []) else ""
        default = "required" if required and part == "spec" else default
        text = " ".join(str(schema.get("description", "")).split()).replace("|", "\\|")
        rows.append(f"| `{path}` | {describe_type(schema)} | {default} | {text} |")
    return "\n".join(rows)


def fill(page: str, text: str) -> str:
    """`text` of `page` with its tables as the CRD says now."""

    def table(match: re.Match[str]) -> str:
        return f"<!-- fields of {match[1]} -->\n{render_table(PAGES[page], match[1])}\n<!-- end of fields -->"

    return MARK.sub(table, text)


def main() -> None:
    """Write the tables into the pages."""
    for page in PAGES:
        path = ROOT / "docs" / page
        path.write_text(fill(page, path.read_text()))


if __name__ == "__main__":
    main()
