"""A token that is asked for and renewed: when, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pullgate.providers.exchange import ExchangeFailed, Issued
from pullgate.resources.fields import format_time

FIRST_RETRY: Final = timedelta(seconds=5)
LAST_RETRY: Final = timedelta(minutes=10)
EARLIEST: Final = 0.6
"""Share of a token's life after which it is renewed at the earliest; the rest is time for retries."""
SPREAD: Final = 0.15
"""Share over which renewals are spread, so that many tokens of one moment do not stay together."""
UNSAID_LIFE: Final = timedelta(hours=1)
"""The assumed life of a token if the provider does not state its end."""
FORCED_APART: Final = timedelta(minutes=5)
"""A refused token is renewed at once, and the next one of a refusal not before this has passed."""

PASSING: Final = frozenset({"ExchangeUnreachable", "ExchangeLimited", "ExchangeError"})
"""Failures that may pass: while the last token still serves, they make no condition False."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """The state of one exchange's token."""

    renew_at: datetime
    """When to request it (again)."""
    issued: Issued | None = None
    issued_at: datetime | None = None
    failure: ExchangeFailed | None = None
    """The last attempt's failure; None after a success."""
    failures: int = 0
    """Failed attempts in a row."""
    forced_at: datetime | None = None
    """When a refusal last forced an early renewal."""

    def serves(self, now: datetime) -> bool:
        """True if there is a token that has not expired."""
        if self.issued is None:
            return False
        end = self.issued.credentials.expires_at
        return end is None or now < end


def renewed(before: Renewal | None, issued: Issued, issued_at: datetime, chance: float) -> Renewal:
    """After a token came at `issued_at`; `chance` is from 0 to 1."""
    end = issued.credentials.expires_at or issued_at + UNSAID_LIFE
    share = EARLIEST + SPREAD * chance
    return Renewal(
        issued_at + max(end - issued_at, timedelta()) * share,
        issued,
        issued_at,
        forced_at=before.forced_at if before is not None else None,
    )


def failed(before: Renewal, error: ExchangeFailed, now: datetime, chance: float) -> Renewal:
    """After none came: later each time, with what was there before."""
    failures = before.failures + 1
    wait = min(FIRST_RETRY * 2 ** min(failures - 1, 10), LAST_RETRY) * (0.8 + 0.4 * chance)
    if error.retry_after is not None:
        wait = max(wait, timedelta(seconds=min(error.retry_after, 3600.0)))
    return replace(before, renew_at=now + wait, failure=error, failures=failures)


def refused(before: Renewal, token: str, now: datetime) -> Renewal:
    """After the registry did not take `token`: renewed at once, but for another token, or where that was just done."""
    if before.issued is None or before.issued.credentials.password != token:
        return before
    if before.forced_at is not None and now - before.forced_at < FORCED_APART:
        return before
    return replace(before, renew_at=now, forced_at=now)


def words_of_failure(renewal: Renewal, now: datetime) -> tuple[bool, str, str]:
    """Returns (True if credentials are available all the same, the reason, the message)."""
    error = renewal.failure
    if error is None:
        raise ValueError("no failure")
    cause = f"{error.message}; {error.fix}"
    if not renewal.serves(now):
        return False, error.reason, cause
    end = renewal.issued.credentials.expires_at if renewal.issued is not None else None
    until = f"; the last token serves until {format_time(end)}" if end is not None else ""
    if error.reason in PASSING:
        return True, "RenewalFailing", cause + until
    return False, error.reason, cause + until
