"""Makes docs/registries and examples/registries of the guides. `make docs` runs it."""

from __future__ import annotations

from pathlib import Path

from pullgate.providers.guide import Guide, fill, render_guide, render_yaml
from pullgate.providers.types import GUIDES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "registries"
EXAMPLES = ROOT / "examples" / "registries"


def values_of(guide: Guide) -> dict[str, str]:
    """What the page and the example are filled in with."""
    values = {"name": guide.type.lower(), "app": "my-app", "repository": "my-org/api", "tag": "1.4.0"}
    return values | {"host": guide.host, "user": guide.user_example, "token": "put-the-token-here"}


def pages() -> dict[Path, str]:
    """Every file, and its text."""
    found = {DOCS / f"{guide.type}.md": render_guide(guide, values_of(guide)) for guide in GUIDES.values()}
    for guide in GUIDES.values():
        values = {**values_of(guide), "key": "put the JSON key here", "repository": "my-org/**"}
        head = f"# {guide.summary} See docs/registries/{guide.type}.md.\n"
        found[EXAMPLES / f"{guide.type}.yaml"] = head + fill(render_yaml(guide), values) + "\n"
    return found


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
