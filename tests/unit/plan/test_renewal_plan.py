"""A token is renewed in time, spread, later and later where that fails, and once at a refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import REASONS, ExchangeFailed, Issued
from pullgate_operator.plan.renewal import FORCED_APART, Renewal, failed, refused, renewed, words_of_failure

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIFE = timedelta(hours=12)


def issued(life: timedelta | None = LIFE, token: str = "TOKEN") -> Issued:
    """A token of `life` from now."""
    return Issued(Credentials("AWS", token, NOW + life if life is not None else None), "ECRToken")


@given(st.floats(0, 1), st.integers(60, 10**7))
def test_a_token_is_renewed_while_it_still_serves_for_a_quarter_of_its_life(chance: float, seconds: int) -> None:
    life = timedelta(seconds=seconds)
    renewal = renewed(None, issued(life), NOW, chance)
    assert NOW + life * 0.59 < renewal.renew_at < NOW + life * 0.76


def test_renewals_of_one_moment_are_spread() -> None:
    assert renewed(None, issued(), NOW, 0).renew_at != renewed(None, issued(), NOW, 1).renew_at


def test_a_token_without_an_end_is_renewed_within_the_hour() -> None:
    assert NOW < renewed(None, issued(None), NOW, 1).renew_at < NOW + timedelta(hours=1)


def test_a_failed_renewal_keeps_the_token_and_is_tried_later_each_time() -> None:
    renewal = renewed(None, issued(), NOW, 0.5)
    waits = []
    for _ in range(12):
        renewal = failed(renewal, ExchangeFailed("ExchangeError", "broken", "wait"), NOW, 0.5)
        waits.append((renewal.renew_at - NOW).total_seconds())
    assert waits[:4] == [5, 10, 20, 40]
    assert waits[-1] == 600
    assert renewal.serves(NOW)
    assert renewed(renewal, issued(), NOW, 0.5).failures == 0


def test_a_provider_that_says_when_is_not_asked_before() -> None:
    error = ExchangeFailed("ExchangeLimited", "too often", "wait", retry_after=120)
    assert failed(Renewal(NOW), error, NOW, 0.5).renew_at == NOW + timedelta(seconds=120)


def test_a_refused_token_is_renewed_at_once_and_the_next_one_not() -> None:
    renewal = refused(renewed(None, issued(), NOW, 0.5), "TOKEN", NOW)
    assert renewal.renew_at == NOW
    again = renewed(renewal, issued(token="NEXT"), NOW, 0.5)
    assert refused(again, "NEXT", NOW + timedelta(seconds=1)) is again
    later = NOW + FORCED_APART
    assert refused(again, "NEXT", later).renew_at == later


def test_the_refusal_of_a_token_that_was_replaced_renews_nothing() -> None:
    renewal = renewed(None, issued(), NOW, 0.5)
    assert refused(renewal, "OLD", NOW) is renewal


@pytest.mark.parametrize("reason", REASONS)
def test_a_failure_names_its_cause_and_until_when_the_last_token_serves(reason: str) -> None:
    renewal = failed(renewed(None, issued(), NOW, 0.5), ExchangeFailed(reason, "the cause", "the fix"), NOW, 0.5)
    available, said, words = words_of_failure(renewal, NOW)
    passing = reason in {"ExchangeUnreachable", "ExchangeLimited", "ExchangeError"}
    assert (available, said) == ((True, "RenewalFailing") if passing else (False, reason))
    assert words == "the cause; the fix; the last token serves until 2026-11-25T00:00:00Z"
    assert words_of_failure(renewal, NOW + LIFE) == (False, reason, "the cause; the fix")
