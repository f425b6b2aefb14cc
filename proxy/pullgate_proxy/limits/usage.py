"""The usage of each License at this proxy. The operator reads it from the admin port."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from typing import Final

from pullgate.licensing.usage import Counts, Tally
from pullgate_proxy.state.snapshot import Name

LIMIT: Final = 200_000
"""Licenses that are counted; of more, those that were used longest ago are forgotten. About 1 KiB each."""
REFUSED_LIMIT: Final = 1_000
PAGE: Final = 1_000
"""Licenses of one answer: what `json_text` lets a reader parse at once."""


class UsageBook:
    """Counts in memory. Each change has a number, so that a later request gets only newer changes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._tallies: OrderedDict[Name, tuple[int, Tally]] = OrderedDict()
        """Oldest change first."""
        self._number = 0
        self._refused: OrderedDict[Name, str] = OrderedDict()
        """Registry -> when its token was issued that the upstream did not take."""
        self.instance = secrets.token_hex(8)
        """Another one after a restart: the counts began again."""

    def note(self, license_: Name, counts: Counts, key: str, now: float) -> None:
        """One request of a License, by the key with the id `key`, at `now` (Unix time)."""
        self._number += 1
        held = self._tallies.get(license_)
        tally = held[1] if held is not None else Tally()
        tally.count(now, counts, key)
        self._tallies[license_] = (self._number, tally)
        self._tallies.move_to_end(license_)
        if len(self._tallies) > self._limit:
            self._tallies.popitem(last=False)

    def tally(self, license_: Name) -> Tally | None:
        """The counts of a License; for reading only."""
        held = self._tallies.get(license_)
        return held[1] if held is not None else None

    def note_refused(self, registry: Name, refreshed_at: str) -> None:
        """The upstream of `registry` did not take the token that was issued at `refreshed_at` (RFC 3339)."""
        self._refused[registry] = refreshed_at
        if len(self._refused) > REFUSED_LIMIT:
            self._refused.popitem(last=False)

    def render(self, instance: str = "", after: int = 0) -> bytes:
        """JSON of the oldest changes after number `after`, a page of them; `last` is where the next one begins.

        A number of another `instance` means nothing here: then the page begins with the oldest change.
        """
        if instance != self.instance:
            after = 0
        found = []
        for name, (number, _) in reversed(self._tallies.items()):
            if number <= after:
                break
            found.append(name)
        page = found[::-1][:PAGE]
        last = self._tallies[page[-1]][0] if page else after
        more = len(found) > len(page)
        refused = [{"app": app, "name": name, "at": at} for (app, name), at in self._refused.items()]
        licenses = [{"app": app, "name": name, **self._tallies[app, name][1].document()} for app, name in page]
        body = {"instance": self.instance, "last": last, "more": more, "licenses": licenses, "refused": refused}
        return json.dumps(body, separators=(",", ":")).encode()
