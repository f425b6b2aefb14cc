"""docs/reliability.md of a run."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.scenarios import RECOVERY_SECONDS, Result

HEAD = """\
# What Pullgate does when everything else fails

Written by `make chaos`: {workers} verifying clients pull three images without a pause through the proxy, while one
thing at a time is broken for half of {seconds:g} seconds, and then mended. A client tries a request six times and goes
on where a body broke, as containerd does. The blobs are not cached here, so that every fault is met.

- **wrong**: bodies that came to a clean end and were not what their digest says. Before the proxy it must be 0: the
  proxy checks every byte and aborts. Behind the proxy it is the client that finds them, as real clients do.
- **joined wrong**: the same where the client went on after an answer that the proxy had aborted. A part cannot be
  checked alone; the client finds it by the digest, throws all away and begins anew.
- **failed**: pulls that did not come through within their six tries a request: the toxic itself ended them.
- **crane**: pulls of a real client beside them, and how many of its pulls failed by its own count of tries.
- **again after**: seconds from the end of the toxic until every image could be pulled; a pull that is lost after that
  ({recovery:g} s are waited for) fails the run.

| where | what | pulls | failed | sent again | wrong | joined wrong | crane | again after | how requests failed |
|---|---|---|---|---|---|---|---|---|---|
"""


def render(results: Sequence[Result], seconds: float, workers: int = 8) -> str:
    """The page."""
    return HEAD.format(workers=workers, seconds=seconds, recovery=RECOVERY_SECONDS) + "".join(map(_row, results))


def _row(result: Result) -> str:
    tally = result.tally
    causes = sorted(tally.causes.items(), key=lambda item: -item[1])[:4]
    words = ", ".join(f"{name} ({count})" for name, count in causes)
    again = f"{result.recovered:.1f} s" if result.recovered is not None else "**never**"
    wrong = f"{tally.wrong}" + (" (found by the client)" if result.behind and tally.wrong else "")
    cells = (
        result.where,
        result.name,
        tally.tried,
        tally.failed,
        tally.retried,
        wrong,
        tally.put_together_wrong,
        f"{tally.crane_tried}, {tally.crane_failed}",
        again,
        words,
    )
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"
