"""Makes docs/errors.md from the clients' output: `python -m tests.clients.errors_page DIR`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

from pullgate.faults import FAULTS
from tests.clients.scenarios import SCENARIOS, Scenario
from tests.support.clients import CLIENTS

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"

HEAD = """\
# Errors: the words of each client

Written by `make docs` from runs of the real clients against the proxy; `make test` runs them again and asserts that the
cause is in what they print. The upstream stands here as `quay.io`, the proxy as `images.example.com`.

✓ the client prints the proxy's words. ○ the client prints that it failed, and hides the words (it shows nothing else of
a 404 or of a failed ping). Status and words are the same for all; `X-Pullgate-Reason` names the reason in each answer.
"""


class Seen(NamedTuple):
    """The output of one client for one scenario."""

    client: str
    title: str
    text: str


def read(directory: Path) -> dict[tuple[str, str], Seen]:
    """(client, title) -> the output."""
    entries = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    return {(e["client"], e["title"]): Seen(e["client"], e["title"], e["text"]) for e in entries}


def render(seen: dict[tuple[str, str], Seen]) -> str:
    """The page."""
    lines = [HEAD, "| fault | who acts | " + " | ".join(CLIENTS) + " |", "|---" * (len(CLIENTS) + 2) + "|"]
    for scenario in SCENARIOS:
        who = ", ".join(FAULTS[scenario.reason].actors)
        marks = [_mark(seen.get((client, scenario.title)), scenario) for client in CLIENTS]
        lines.append(f"| [{scenario.reason}](#{_anchor(scenario)}): {scenario.title} | {who} | {' | '.join(marks)} |")
    for scenario in SCENARIOS:
        lines += ["", f"## {scenario.reason}: {scenario.title}", ""]
        for client in CLIENTS:
            found = seen.get((client, scenario.title))
            if found is not None:
                lines += [f"{client}", "", "```", clean(found.text), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _mark(found: Seen | None, scenario: Scenario) -> str:
    if found is None:
        return ""
    words = scenario.words.replace("127.0.0.1", "quay.io")
    text = " ".join(found.text.split())
    return "✓" if words in text or scenario.words in text else "○"


def _anchor(scenario: Scenario) -> str:
    return re.sub(r"[^a-z0-9 -]", "", f"{scenario.reason}: {scenario.title}".lower()).replace(" ", "-")


_NOISE = re.compile(r"^(Getting image source|Copying |Trying to pull|.*Pulling f|.*DEPRECATION|.*Pulling from)")
_RUN = (
    (re.compile(r'time="[^"]*" '), ""),
    (re.compile(r"127\.0\.0\.1(:|%3A)\d+"), "images.example.com"),
    (re.compile(r"localhost:\d+"), "quay.io"),
    (re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d "), ""),
    (re.compile(r"sha256:([0-9a-f]{8})[0-9a-f]{56}"), r"sha256:\1…"),
    (re.compile(r'(\bref(?:": "|:| ))[0-9a-f]{16}\b'), r"\1…"),
    (re.compile(r"\b20\d\d-\d\d-\d\d(?=[ ;\"]|$)(?<!2026-10-01)(?<!2090-01-01)"), "2026-11-24"),
)


def clean(text: str) -> str:
    """`text` without progress, and without parts that differ from run to run."""
    kept = []
    for line in text.splitlines():
        if not line.strip() or _NOISE.match(line):
            continue
        for pattern, replacement in _RUN:
            line = pattern.sub(replacement, line)
        kept.append(line.rstrip())
    return "\n".join(dict.fromkeys(kept[-6:]))


def main() -> None:
    """Write the page."""
    seen = read(Path(sys.argv[1]))
    missing = [(c, s.title) for s in SCENARIOS for c in CLIENTS if (c, s.title) not in seen]
    if missing:
        raise SystemExit(f"not run: {missing}")
    PAGE.write_text(render(seen))


if __name__ == "__main__":
    main()
