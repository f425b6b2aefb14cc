"""Makes docs/registries and examples/registries of the guides. `make docs` runs it."""

from __future__ import annotations

from pathlib import Path

from pullgate.providers.guide import Guide, fill, render_guide, render_identity_yaml, render_yaml
from pullgate.providers.types import GUIDES
from pullgate.resources.registry_type import REGISTRY_TYPES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "registries"
EXAMPLES = ROOT / "examples" / "registries"


def values_of(guide: Guide) -> dict[str, str]:
    """The values for the page and the example."""
    values = {"name": guide.type.lower(), "app": "my-app", "repository": "my-org/api", "tag": "1.4.0"}
    host = guide.host or REGISTRY_TYPES[guide.type].host or ""
    return values | {"host": host, "user": guide.user_example, "token": "put-the-token-here", "org": "my-org"}


def example_values_of(guide: Guide) -> dict[str, str]:
    """The values for an example, with which it could be applied as it is."""
    ids = {"account": "123456789012", "project": "my-project", "number": "123456789012", "pool": "pullgate"}
    ids |= dict.fromkeys(("tenant", "client"), "00000000-0000-0000-0000-000000000000")
    return {**values_of(guide), **ids, "key": "put the JSON key here", "repository": "my-org/**"}


def pages() -> dict[Path, str]:
    """Every file, and its text."""
    found = {DOCS / f"{guide.type}.md": render_guide(guide, values_of(guide)) for guide in GUIDES.values()}
    for guide in GUIDES.values():
        values = example_values_of(guide)
        head = f"# {guide.summary} See docs/registries/{guide.type}.md.\n"
        found[EXAMPLES / f"{guide.type}.yaml"] = head + fill(render_yaml(guide), values) + "\n"
        if guide.identity is not None:
            head = f"# No stored key: a workload identity. See docs/registries/{guide.type}.md.\n"
            text = fill(render_identity_yaml(guide, guide.identity), values)
            found[EXAMPLES / f"{guide.type}-identity.yaml"] = head + text + "\n"
    return found


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
