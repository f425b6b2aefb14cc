"""Tokens: each asked for once for all Registries that share it, before its end, and at once where it was refused."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pullgate.providers.exchange import Exchange, ExchangeFailed, Issued, Tools, fingerprint
from pullgate.providers.handoff import Handoff
from pullgate.resources.fields import format_time
from pullgate.shares import namespace_holder
from pullgate.slots import FairSlots
from pullgate.store.port import Key
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.exchange_http import ExchangeHttp
from pullgate_operator.plan.renewal import Renewal, failed, refused, renewed
from pullgate_operator.reconcile.settings import Clock

AT_ONCE: Final = 16
"""Tokens that are asked for at the same time; half of them is the most for one namespace."""
SECONDS: Final = 120.0
"""For which one may be asked for: several requests, each of which has its own bound."""
SKEW: Final = timedelta(minutes=1)

AskToken = Callable[[str, str, str], Awaitable[str]]
"""Namespace, ServiceAccount, audience -> a token of Kubernetes. Raises ExchangeFailed."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    exchange: Exchange
    config: UpstreamConfig
    renewal: Renewal
    users: set[Key] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Renewals:
    """The tokens of all exchanges, by fingerprint: single flight, and one token for equal ones."""

    def __init__(
        self,
        clock: Clock,
        ask_token: AskToken,
        *,
        again: Callable[[Key], None],
        on_done: Callable[[str], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`on_done` receives `ok` or the reason of each attempt."""
        self._clock, self._ask_token, self._again, self._on_done = clock, ask_token, again, on_done
        self._chance = chance
        self._slots = FairSlots("tokens", AT_ONCE)
        self._entries: dict[str, _Entry] = {}
        self._source_of: dict[Key, str] = {}

    def get(self, key: Key, exchange: Exchange, config: UpstreamConfig, handed: Handoff | None) -> Renewal:
        """The state of the token of Registry `key`. If it is due, requests a new one and calls `again` at the end.

        `config` says how to reach the Registry's host. A token that was `handed` over before, perhaps by an earlier
        process, goes on serving.
        """
        source, now = fingerprint(exchange), self._clock()
        if self._source_of.get(key) not in {None, source}:
            self.forget(key)
        entry = self._entries.get(source)
        if entry is None:
            entry = self._entries[source] = _Entry(exchange, config, self._adopt(source, handed, now))
        self._source_of[key] = source
        entry.users.add(key)
        issued_at = entry.renewal.issued_at
        is_due = entry.renewal.renew_at <= now or (issued_at is not None and issued_at > now + SKEW)
        if is_due and entry.task is None:
            entry.task = asyncio.create_task(self._renew(source, entry, key.namespace), name=f"renew {key.name}")
        return entry.renewal

    def refuse(self, key: Key, token: str) -> None:
        """The registry did not take `token`, which was handed over for `key`."""
        entry = self._entries.get(self._source_of.get(key, ""))
        if entry is not None:
            self._force(entry, token)

    def refuse_of(self, key: Key, refreshed_at: str) -> None:
        """A proxy's registry did not take the token of `key` that was issued at `refreshed_at` (RFC 3339)."""
        entry = self._entries.get(self._source_of.get(key, ""))
        if entry is None or entry.renewal.issued is None or entry.renewal.issued_at is None:
            return
        if format_time(entry.renewal.issued_at) == refreshed_at:
            self._force(entry, entry.renewal.issued.credentials.password)

    def forget(self, key: Key) -> None:
        """The Registry is gone, or has other credentials."""
        source = self._source_of.pop(key, "")
        entry = self._entries.get(source)
        if entry is None:
            return
        entry.users.discard(key)
        if not entry.users:
            del self._entries[source]
            if entry.task is not None:
                entry.task.cancel()

    async def stop(self) -> None:
        """End the requests that run."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _adopt(self, source: str, handed: Handoff | None, now: datetime) -> Renewal:
        if handed is None or handed.source != source or handed.credentials is None or handed.refreshed_at is None:
            return Renewal(now)
        found = renewed(None, Issued(handed.credentials, handed.kind), handed.refreshed_at, self._chance())
        return found if found.serves(now) else Renewal(now)

    def _force(self, entry: _Entry, token: str) -> None:
        before = entry.renewal
        entry.renewal = refused(before, token, self._clock())
        if entry.renewal is not before:
            for user in entry.users:
                self._again(user)

    async def _renew(self, source: str, entry: _Entry, namespace: str) -> None:
        try:
            async with self._slots.hold(namespace_holder(namespace)), asyncio.timeout(SECONDS):
                began = self._clock().replace(microsecond=0)
                issued = await entry.exchange.issue(Tools(ExchangeHttp(entry.config), self._clock, self._ask_token))
            entry.renewal = renewed(entry.renewal, _checked(issued, self._clock()), began, self._chance())
            self._on_done("ok")
        except ExchangeFailed as error:
            self._fail(entry, error)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is one failed try
            # Its text may hold what was sent.
            log.error("renewing a token with %s failed: %s", entry.exchange.source, type(error).__name__)  # noqa: TRY400
            words = f"the token of {entry.exchange.source} could not be asked for ({type(error).__name__})"
            self._fail(entry, ExchangeFailed("ExchangeError", words, "it is tried again"))
        entry.task = None
        if self._entries.get(source) is entry:
            for user in entry.users:
                self._again(user)

    def _fail(self, entry: _Entry, error: ExchangeFailed) -> None:
        entry.renewal = failed(entry.renewal, error, self._clock(), self._chance())
        self._on_done(error.reason)


def _checked(issued: Issued, now: datetime) -> Issued:
    """A token that has not ended yet. Its times have whole seconds, as a Secret holds them. Raises ExchangeFailed."""
    end = issued.credentials.expires_at
    if end is None:
        return issued
    if end <= now:
        words = f"the token that was given ended at {format_time(end)}, and here it is {format_time(now)}"
        raise ExchangeFailed("ClockWrong", words, "set the clock")
    return dataclasses.replace(
        issued, credentials=dataclasses.replace(issued.credentials, expires_at=end.replace(microsecond=0))
    )
