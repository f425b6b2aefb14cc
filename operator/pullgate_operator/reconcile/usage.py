"""The counts of all proxies together. A proxy that ended still counts until its hours are over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pullgate.licensing.usage import HOUR, HOURS, Tally, Usage, add_up, read_tally
from pullgate.oci.json_text import read_json
from pullgate.store.port import Key
from pullgate.usage.poller import InvalidUsage

Ask = Callable[[int], bytes]
"""Returns a usage book's answer to "after number N"."""


@dataclass(slots=True)
class Proxy:
    """One run of one proxy."""

    last: int = 0
    """The number of its last change that was taken in."""
    heard: float = 0.0
    tallies: dict[Key, Tally] = field(default_factory=dict)


class UsageLedger:
    """The last counts of each proxy, by License."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._proxies: defaultdict[str, Proxy] = defaultdict(Proxy)

    def last_of(self, instance: str) -> int:
        """The number after which to ask the run `instance` of a proxy."""
        return self._proxies[instance].last if instance in self._proxies else 0

    def take(self, body: bytes) -> tuple[set[Key], str, bool]:
        """Take in an answer. Returns the Licenses it is about, whose answer it is, and whether there is more.

        Raises InvalidUsage; then nothing was taken in.
        """
        instance, last, more, tallies = _read(body)
        now = self._clock().timestamp()
        proxy = self._proxies[instance]
        proxy.tallies.update(tallies)
        proxy.last, proxy.heard = max(proxy.last, last), now
        for name, other in list(self._proxies.items()):
            if now - other.heard > HOURS * HOUR:
                del self._proxies[name]
        return set(tallies), instance, more

    def of(self, key: Key) -> Usage | None:
        """A License's usage; None if no proxy reported any."""
        tallies = [proxy.tallies[key] for proxy in self._proxies.values() if key in proxy.tallies]
        return add_up(tallies, self._clock().timestamp()) if tallies else None

    def forget(self, key: Key) -> None:
        """The License is gone."""
        for proxy in self._proxies.values():
            proxy.tallies.pop(key, None)


def read_refused(body: bytes) -> list[tuple[Key, str]]:
    """The Registries of an answer whose token was refused, and when each was issued. Raises InvalidUsage."""
    try:
        rows = read_json(body).get("refused") or ()
        return [(Key("Registry", str(row["app"]), str(row["name"])), str(row["at"])) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidUsage(f"no usage: {type(error).__name__}") from error


def _read(body: bytes) -> tuple[str, int, bool, dict[Key, Tally]]:
    try:
        document: Any = read_json(body)
        tallies = {Key("License", str(row["app"]), str(row["name"])): read_tally(row) for row in document["licenses"]}
        return str(document["instance"])[:64], int(document["last"]), bool(document["more"]), tallies
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InvalidUsage(f"no usage: {type(error).__name__}") from error
