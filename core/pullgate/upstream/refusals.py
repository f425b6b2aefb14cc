"""Refused logins: left alone for a while, since upstreams ban an address after too many of them.

GitLab bans for an hour after 30 failed logins in 3 minutes, Docker Hub locks logins for about 15 minutes
(hub-feedback#2217). New credentials are another login, which is tried at once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from pullgate import faults
from pullgate.upstream.config import UpstreamConfig

FIRST_PAUSE: Final = 15.0
LONGEST_PAUSE: Final = 300.0
"""Seconds; doubled by each refusal. Four tries in GitLab's 3 minutes."""
_LEASE: Final = 10.0
"""Seconds in which one request tries a login while the others wait."""
_LIMIT: Final = 4096
"""Logins that are remembered."""


@dataclass(slots=True)
class _Refused:
    fault: faults.Fault
    pause: float
    until: float


class Refusals:
    """Refusals by upstream and credentials and, if only one repository is known to refuse, by repository."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refused: OrderedDict[tuple[str, str], _Refused] = OrderedDict()
        self._logins: WeakValueDictionary[str, LoginRefusals] = WeakValueDictionary()

    def of(self, config: UpstreamConfig) -> LoginRefusals:
        """Those of one upstream and its credentials; one object for all clients that have the same."""
        credentials = config.credentials
        secret = f"{config.wire_host}\n{credentials.username}\n{credentials.password}" if credentials else ""
        login = hashlib.sha256(secret.encode()).hexdigest()
        found = self._logins.get(login)
        if found is None:
            found = self._logins[login] = LoginRefusals(self, login)
        return found

    def find(self, login: str, repository: str) -> faults.Fault | None:
        """The refusal of a login that must not be tried now. None: try it; others wait for the outcome."""
        for key in ((login, ""), (login, repository)):
            refused = self._refused.get(key)
            if refused is None:
                continue
            now = self._clock()
            if now < refused.until:
                return faults.copy_of(refused.fault)
            refused.until = now + _LEASE
        return None

    def holds(self, login: str) -> bool:
        """True if the last try of the login was refused."""
        return (login, "") in self._refused

    def note(self, login: str, repository: str, fault: faults.Fault) -> None:
        """The login was refused, for `repository` alone or, if it is empty, at all."""
        before = self._refused.pop((login, repository), None)
        pause = FIRST_PAUSE if before is None else min(before.pause * 2, LONGEST_PAUSE)
        self._refused[login, repository] = _Refused(faults.copy_of(fault), pause, self._clock() + pause)
        if len(self._refused) > _LIMIT:
            self._refused.popitem(last=False)

    def clear(self, login: str, repository: str) -> None:
        """The login was accepted."""
        self._refused.pop((login, ""), None)
        self._refused.pop((login, repository), None)


class LoginRefusals:
    """`Refusals` of one upstream and one set of credentials."""

    def __init__(self, refusals: Refusals, login: str) -> None:
        self._refusals, self._login = refusals, login
        self._tried = False
        self._trying: tuple[asyncio.Task[object] | None, asyncio.Event] | None = None
        """The task that shows the login for the first time, and the event that ends its try."""

    async def wait_for_first_try(self) -> None:
        """Return at once in the task that shows the login first; all others wait for its outcome, for a while."""
        while not self._tried:
            if self._trying is None:
                self._trying = asyncio.current_task(), asyncio.Event()
                return
            task, ended = self._trying
            if task is asyncio.current_task():
                return
            try:
                async with asyncio.timeout(_LEASE):
                    await ended.wait()
            except TimeoutError:
                return

    def end_first_try(self, *, told: bool) -> None:
        """The upstream answered the first try; or it did not (`told` is False), and the next is the first one."""
        if self._trying is None:
            return
        self._tried = told
        self._trying[1].set()
        self._trying = None

    def check(self, repository: str) -> None:
        """Raises the remembered refusal while the login must not be tried."""
        fault = self._refusals.find(self._login, repository)
        if fault is not None:
            raise fault

    @property
    def held(self) -> bool:
        """True if the last try was refused, so that the login itself must be tried first."""
        return self._refusals.holds(self._login)

    def note(self, fault: faults.Fault, repository: str = "") -> None:
        """Refused: for `repository` alone, or at all."""
        self._refusals.note(self._login, repository, fault)

    def clear(self, repository: str = "") -> None:
        """Accepted."""
        self._refusals.clear(self._login, repository)
