"""A pool that many share, so that nobody can hold all of it: dynamic thresholds.

Nobody may hold more than is still free for all others (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", 1998). One app alone may use half of the pool. If n apps take all they can, each holds
1/(n+1), and as much stays free: a new app always finds room. The same rule splits an app's part among its Licenses,
and among its Registries. Nothing is configured.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from pullgate.faults import Overloaded, ShareReached


class Kind(StrEnum):
    """The kinds of holders, as a message names them."""

    LICENSE = "license"
    REGISTRY = "Registry"
    NAMESPACE = "app"
    ADDRESS = "address"
    """The address of somebody who has not logged in."""


ALPHA: Final = {Kind.NAMESPACE: 1, Kind.ADDRESS: 1, Kind.LICENSE: 1, Kind.REGISTRY: 2}
"""A holder has less than this times what is free. A Registry has more than a License, for several use it at once."""
FEW: Final = 4
"""Units of a License that a Registry's share never refuses: Licenses that fill one keep no other out of it."""


class Holder(NamedTuple):
    """Somebody who holds units."""

    kind: Kind
    namespace: str
    name: str = ""

    @property
    def words(self) -> str:
        """As a message names it."""
        if self.kind is Kind.ADDRESS:
            return "your address"
        return f"{self.kind} {self.name or self.namespace}"


Holders = tuple[Holder, ...]
"""In whose name units are taken: an app (or an address), then what is of that app."""

CapOf = Callable[[str], int | None]
"""Namespace -> the units that an admin allows it at most; None: no such bound."""


def namespace_holder(namespace: str) -> Holder:
    """An app."""
    return Holder(Kind.NAMESPACE, namespace)


def address_holder(source: str) -> Holder:
    """Somebody at `source` who has not logged in."""
    return Holder(Kind.ADDRESS, source)


@functools.lru_cache(maxsize=8192)
def license_holders(namespace: str, name: str) -> Holders:
    """A License and its app."""
    return namespace_holder(namespace), Holder(Kind.LICENSE, namespace, name)


def registry_holders(namespace: str, name: str) -> Holders:
    """A Registry and its app."""
    return namespace_holder(namespace), Holder(Kind.REGISTRY, namespace, name)


def pull_holders(namespace: str, registry: str, license_: str) -> Holders:
    """A Registry, the License that pulls from it, and their app."""
    return *registry_holders(namespace, registry), Holder(Kind.LICENSE, namespace, license_)


class Shares:
    """A pool of units, and who holds how many. Each step is O(1); only who holds something is remembered."""

    __slots__ = ("_cap_of", "_held", "cause", "limit", "used")

    def __init__(self, cause: str, limit: int | None = None, cap_of: CapOf | None = None) -> None:
        """`cause` names the pool in faults and metrics. `limit` in units; None: as many as are asked for.

        `cap_of` bounds single namespaces further.
        """
        self.cause, self.limit, self._cap_of = cause, limit, cap_of
        self.used = 0
        self._held: dict[Holder, int] = {}

    @property
    def holders(self) -> int:
        """How many hold something."""
        return len(self._held)

    def held_by(self, holder: Holder) -> int:
        """Its units."""
        return self._held.get(holder, 0)

    def over_share(self, holders: Holders, units: int = 1) -> Holder | None:
        """The first of `holders` that may not have `units` more; None if all may."""
        if self.limit is None or not holders:
            return None
        if self._cap_of is None and 3 * (self.used + units) < self.limit:
            return None  # nobody holds more than is used, and that is less than each of the bounds below
        app, *inner = holders
        before = units - 1  # the bound holds for the last unit as if it came alone
        free = self.limit - self.used - before
        held = self.held_by(app) + before
        if held >= free or self._is_capped(app, held):
            return app
        few = any(one.kind is Kind.LICENSE and self.held_by(one) + units <= FEW for one in inner)
        for one in inner:
            if one.kind is Kind.REGISTRY and few:
                continue
            if self.held_by(one) + before >= ALPHA[one.kind] * (free - held):
                return one
        return None

    def _is_capped(self, app: Holder, held: int) -> bool:
        cap = self._cap_of(app.namespace) if self._cap_of is not None and app.kind is Kind.NAMESPACE else None
        return cap is not None and held >= cap

    def fits(self, holders: Holders, units: int = 1) -> bool:
        """True if `take` would succeed."""
        return (self.limit is None or self.used + units <= self.limit) and self.over_share(holders, units) is None

    def take(self, holders: Holders, units: int = 1) -> None:
        """`units` more for all of `holders` together, for which `give` must follow.

        Raises ShareReached if one of them has its share, Overloaded if the pool is full; then nothing was taken.
        """
        over = self.over_share(holders, units)
        if over is not None and self._held.get(over):
            raise ShareReached(over.words, self._held[over], self.cause)
        if over is not None or (self.limit is not None and self.used + units > self.limit):
            raise Overloaded(self.cause)
        self.used += units
        for holder in holders:
            self._held[holder] = self._held.get(holder, 0) + units

    def give(self, holders: Holders, units: int = 1) -> None:
        """`holders` hold `units` less."""
        self.used -= units
        for holder in holders:
            left = self._held[holder] - units
            if left:
                self._held[holder] = left
            else:
                del self._held[holder]

    @contextlib.contextmanager
    def lend(self, *holders: Holder) -> Iterator[Loan]:
        """A loan, whose units are given back at the end of the context."""
        loan = Loan(self, holders)
        try:
            yield loan
        finally:
            loan.give_back()


class Loan:
    """The units of a pool that one request, or one body while it grows, holds."""

    __slots__ = ("_holders", "_pool", "size")

    def __init__(self, pool: Shares, holders: Holders) -> None:
        self._pool, self._holders = pool, holders
        self.size = 0

    def grow_to(self, size: int) -> None:
        """Hold `size` units in all. Raises ShareReached, Overloaded; what was taken before is still held."""
        if size > self.size:
            self._pool.take(self._holders, size - self.size)
            self.size = size

    def give_back(self) -> None:
        """Hold nothing any more."""
        if self.size:
            self._pool.give(self._holders, self.size)
            self.size = 0
