"""Makes docs/registries/README.md from the tests' results: `python -m tests.providers.types_page DIR`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pullgate.providers.types import GUIDES, PROVIDERS
from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Flavour
from tests.support.fakes.kinds import kinds_of
from tests.support.proven import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "registries" / "README.md"
ROOT = PAGE.parents[2]

HEAD = """\
# Registries

Each page says what to do at a provider. `pullgate registry guide TYPE --host … --name …` prints the same text, filled
in for you. [Credentials](../credentials.md) says how credentials are renewed and when they warn.
A further type: [adding a type](../adding-a-type.md).

| type | | credentials |
|---|---|---|
"""
TABLE = """
## Tests by type

Written by `make docs` from the tests that ran (`tests/providers`): ✓ stands for a test that passed. Each type is pulled
through the proxy by real clients from a fake of the provider, which speaks its login over HTTP in front of a real
registry. A fake gives the answers of the real service; `tests/support/fakes/flavours.py` names the source beside each.
No provider was asked itself.

"""

KINDS = """
A token of the registry may end in mid-blob; a broken blob is resumed with the next one. ECR has no such token:
its password ends, which bytes on their way do not feel; a blob that breaks after that end is resumed with the new
password where there is one by then, and else aborted, so that the client's own next try gets it.

## Keys and modes that were pulled with

A comma stands before the mode of the host, or what is special about it.

| type | |
|---|---|
"""

REFUSALS = """
## How each provider refuses

The columns "wrong secret" and "denied", and `tests/providers/test_refusals.py`, are tested with these answers. Pullgate
reports a wrong login as UpstreamUnauthorized and a missing permission as UpstreamForbidden.

| type | a wrong login | a good login without permission |
|---|---|---|
"""

_STATIC = "the credentials are static: Pullgate warns of their end, and there is nothing to renew"
_BASIC = "it takes the password at each request: there is no token that could end"
_RENEWED_BASIC = {"ECR"}
"""Types without tokens, whose password ends all the same."""
_NO_IDENTITY = "the provider knows no workload identity"
_OTHER_IDENTITY = (
    "it can trust an OIDC issuer in a way of its own (robot federation, OIDC integration), which is not used"
)
MISSING: Mapping[tuple[str, str], str] = {
    **{(name, "identity"): _NO_IDENTITY for name, provider in PROVIDERS.items() if provider.identity is None},
    **{(name, "identity"): _OTHER_IDENTITY for name in ("Quay", "Artifactory")},
    **{
        (name, "renewal"): _STATIC
        for name in ("DockerHub", "Quay", "Harbor", "GitLab", "Artifactory", "Nexus", "DigitalOcean", "Generic")
    },
    **{
        (name, "ends in mid-blob"): _BASIC
        for name, flavour in FLAVOURS.items()
        if flavour.scheme == "basic" and name not in _RENEWED_BASIC
    },
}
"""(type, column) -> why there is nothing to show."""


def read(directory: Path) -> set[tuple[str, str]]:
    """The cells (type, column) that the tests showed."""
    rows = [json.loads(path.read_text()) for path in directory.glob("*.json")]
    return {(row["type"], row["column"]) for row in rows}


def gaps(shown: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Cells and kinds of keys that are neither shown nor explained."""
    wanted = [(t, c) for t in GUIDES for c in (*COLUMNS, *kinds_of(t))]
    return [cell for cell in wanted if cell not in shown and cell not in MISSING]


def render(shown: set[tuple[str, str]]) -> str:
    """The page."""
    rows = [f"| [{guide.type}]({guide.type}.md) | {guide.title} | {guide.summary} |" for guide in GUIDES.values()]
    heads = ["type", *COLUMNS, "docs", "fake"]
    lines = [HEAD + "\n".join(rows), TABLE, "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    reasons = list(dict.fromkeys(MISSING.values()))
    for name in GUIDES:
        cells = [_cell(name, column, shown, reasons) for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} | [✓]({name}.md) | {FLAVOURS[name].name} |")
    lines += ["", *(f"<sup>{number}</sup> {reason}  " for number, reason in enumerate(reasons, 1))]
    lines += [KINDS + "\n".join(f"| {name} | {_kinds(name, shown)} |" for name in GUIDES)]
    lines += [REFUSALS + "\n".join(_refusals(name, FLAVOURS[name]) for name in GUIDES)]
    return "\n".join(lines).replace(TABLE + "\n", TABLE) + "\n"


def _refusals(name: str, flavour: Flavour) -> str:
    at = flavour.denied_at if flavour.scheme == "bearer" else "registry"
    where = {"bearer": "token server", "basic": "registry"}[flavour.scheme]
    wrong = f"{flavour.wrong[0]} of the {where}"
    if flavour.strangers_get_tokens:
        wrong += " without a scope; with one, a token without access"
    challenges = {"none": "", "bearer": ", Bearer", "insufficient scope": ", Bearer with insufficient_scope"}
    challenge = challenges.get(flavour.denied_challenge, f', Basic realm="{flavour.basic_realm}"')
    return f"| {name} | {wrong} | {flavour.denied[0]} of the {at}{challenge} |"


def _kinds(name: str, shown: set[tuple[str, str]]) -> str:
    return "; ".join(kind for kind in kinds_of(name) if (name, kind) in shown)


def _cell(name: str, column: str, shown: set[tuple[str, str]], reasons: list[str]) -> str:
    if (name, column) in shown:
        return "✓"
    why = MISSING.get((name, column))
    return f"— <sup>{reasons.index(why) + 1}</sup>" if why is not None else ""


def main() -> int:
    """Write the page. The exit code: 1 if a cell is empty."""
    shown = read(Path(sys.argv[1]))
    PAGE.write_text(render(shown))
    for name, column in gaps(shown):
        print(f"no test showed {column} of {name}", file=sys.stderr)
    return 1 if gaps(shown) else 0


if __name__ == "__main__":
    sys.exit(main())
