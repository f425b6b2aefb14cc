"""docs/reliability.md of a run."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.scenarios import RECOVERY_SECONDS, Result
from tests.chaos.stage import WORKERS

HEAD = """\
# Reliability: pulls under faults

Written by `make chaos`: {workers} verifying clients pull three images without a pause through the proxy, while one
thing at a time is broken for half of {seconds:g} seconds or until it had an effect, and then mended: {total:.0f} s in
all. A client tries a request six times and goes on where a body broke, as containerd does.

At `upstream`, `client` and `proxy` no blob is kept, so that every fault is met. Elsewhere the proxy has a blob cache
that is smaller than the images: blobs are evicted and fetched again all the time, and clients share a fetch.

- **wrong**: bodies that came to a clean end and were not what their digest says. It must be 0: the proxy checks every
  byte and aborts. Between the proxy and the client it is the client that finds them, as real clients do.
- **joined wrong**: the same where the client went on after an answer that the proxy had aborted. A part cannot be
  checked alone; the client finds it by the digest, throws all away and begins anew.
- **failed**: pulls that did not come through within their six tries a request: the toxic itself ended them.
- **crane**: pulls of a real client beside them, and how many of its pulls failed by its own count of tries.
- **harmless**: what may cost no pull, and fails the run if it does: what breaks beside an upstream that is well.
- **again after**: seconds from the end of the toxic until every image could be pulled; a pull that is lost after that
  ({recovery:g} s are waited for) fails the run.

A fault of a disk, a peer, a store or a certificate has to show that it was met: a damaged file was found,
the disk was given up and is used again. In what the processes wrote (logs, metrics, caches) no
secret may stand. The API server is not here: that no pull fails while it is away, and that a License ends on time then,
is shown by `tests/cluster/test_operator.py`,
`test_no_pull_fails_while_the_api_server_is_away_and_a_license_still_ends_on_time`.

| where | what | pulls | failed | sent again | wrong | joined wrong | crane | again after | how requests failed |
|---|---|---|---|---|---|---|---|---|---|
"""


def render(results: Sequence[Result], seconds: float, total: float) -> str:
    """The page; each toxic had `seconds`, all together took `total`."""
    head = HEAD.format(workers=WORKERS, seconds=seconds, total=total, recovery=RECOVERY_SECONDS)
    return head + "".join(map(_row, results))


def _row(result: Result) -> str:
    tally = result.tally
    causes = sorted(tally.causes.items(), key=lambda item: -item[1])[:4]
    words = ", ".join(f"{name} ({count})" for name, count in causes)
    again = f"{result.recovered:.1f} s" if result.recovered is not None else "**never**"
    wrong = f"{tally.wrong}" + (" (found by the client)" if result.behind and tally.wrong else "")
    cells = (
        result.where,
        result.name + (" (harmless)" if result.harmless else ""),
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
