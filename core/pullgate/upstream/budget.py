"""How many bytes of bodies may be in memory at once, of all who share the budget. It is there or not: nobody waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pullgate import faults


class BodyBudget:
    """A count of bytes and its bound."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int | None = None) -> None:
        """`limit` in bytes; None: whatever is asked for."""
        self.limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """`size` more bytes, for which `give` must follow. Raises Overloaded; then it must not."""
        if self.limit is not None and self.held + size > self.limit:
            raise faults.Overloaded("bodies")
        self.held += size

    def give(self, size: int) -> None:
        """`size` bytes are not held any more."""
        self.held -= size

    @contextlib.contextmanager
    def lend(self) -> Iterator[Loan]:
        """What is taken by the loan is given back at the end of the context."""
        loan = Loan(self)
        try:
            yield loan
        finally:
            self.give(loan.size)


class Loan:
    """What one body takes of a budget while it grows."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self.size = 0

    def grow_to(self, size: int) -> None:
        """The body has, or will have, `size` bytes. Raises Overloaded; what was taken before is still held."""
        if size > self.size:
            self._budget.take(size - self.size)
            self.size = size
