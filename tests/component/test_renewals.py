"""One token for all who share an exchange, kept over a restart, and renewed at a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Issued, Tools, fingerprint
from pullgate.providers.handoff import Handoff
from pullgate.store.port import Key
from pullgate.upstream.config import UpstreamConfig
from pullgate_operator.plan.renewal import Renewal
from pullgate_operator.reconcile.renewals import Renewals

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ONE, OTHER = Key("Registry", "my-app", "one"), Key("Registry", "other-app", "other")
CONFIG = UpstreamConfig("my-app/one", "registry.example", "registry.example")


class Provider:
    """Gives tokens by number."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.life = timedelta(hours=12)


@dataclass(frozen=True)
class TestExchange:
    """An exchange with a provider of this process."""

    __test__ = False
    key: str = field(repr=False)
    provider: Provider = field(repr=False, compare=False)
    source: str = "access key A"
    kind: str = "ECRToken"

    async def issue(self, tools: Tools) -> Issued:
        """The next token."""
        self.provider.asked += 1
        number = self.provider.asked
        await self.provider.open.wait()
        if self.provider.error is not None:
            raise self.provider.error
        return Issued(Credentials("AWS", f"token-{number}", tools.now() + self.provider.life), self.kind)


class Stage:
    """Renewals with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW
        self.provider = Provider()
        self.told: list[Key] = []
        self.results: list[str] = []
        self.renewals = self.restart()

    def restart(self) -> Renewals:
        """Another process."""

        async def no_token(*_: str) -> str:
            raise AssertionError

        self.renewals = Renewals(
            lambda: self.now, no_token, again=self.told.append, on_done=self.results.append, chance=lambda: 0.5
        )
        return self.renewals

    def get(self, key: Key = ONE, secret: str = "SECRET", handed: Handoff | None = None) -> Renewal:
        """The renewal that a reconcile receives."""
        return self.renewals.get(key, TestExchange(secret, self.provider), CONFIG, handed)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for an effect."""
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.001)

    async def issued(self, key: Key = ONE) -> Renewal:
        """The renewal, once a token is issued."""
        self.get(key)
        await self.until(lambda: self.get(key).issued is not None)
        return self.get(key)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def token(renewal: Renewal) -> str | None:
    """The token that serves."""
    return renewal.issued.credentials.password if renewal.issued is not None else None


def handoff(renewal: Renewal, secret: str, provider: Provider) -> Handoff:
    """The handoff that the proxy received."""
    assert renewal.issued is not None
    source = fingerprint(TestExchange(secret, provider))
    issued = renewal.issued
    return Handoff("my-app", "one", "uid", 1, issued.credentials, None, issued.kind, source, renewal.issued_at)


async def test_registries_with_the_same_keys_share_a_token_that_is_asked_for_once(stage: Stage) -> None:
    stage.provider.open.clear()
    for _ in range(5):
        stage.get(ONE)
        stage.get(OTHER)
    await stage.until(lambda: stage.provider.asked == 1)
    stage.provider.open.set()
    await stage.until(lambda: {ONE, OTHER} <= set(stage.told))
    assert token(stage.get(ONE)) == token(stage.get(OTHER)) == "token-1"
    assert stage.provider.asked == 1
    assert stage.results == ["ok"]


async def test_other_keys_bring_another_token(stage: Stage) -> None:
    await stage.issued()
    stage.get(ONE, "OTHER SECRET")
    await stage.until(lambda: token(stage.get(ONE, "OTHER SECRET")) == "token-2")


async def test_a_token_is_renewed_before_its_end(stage: Stage) -> None:
    renewal = await stage.issued()
    stage.now = renewal.renew_at - timedelta(seconds=1)
    assert token(stage.get()) == "token-1"
    assert stage.provider.asked == 1
    stage.now = renewal.renew_at
    assert stage.get().serves(stage.now)
    await stage.until(lambda: token(stage.get()) == "token-2")


async def test_a_restarted_operator_asks_for_nothing_while_the_token_serves(stage: Stage) -> None:
    handed = handoff(await stage.issued(), "SECRET", stage.provider)
    stage.restart()
    assert token(stage.get(handed=handed)) == "token-1"
    assert stage.provider.asked == 1
    stage.restart()
    stage.get(secret="CHANGED", handed=handed)
    await stage.until(lambda: stage.provider.asked == 2)


async def test_a_token_that_ended_while_no_operator_ran_is_not_taken_up(stage: Stage) -> None:
    handed = handoff(await stage.issued(), "SECRET", stage.provider)
    stage.restart()
    stage.now += timedelta(hours=13)
    assert token(stage.get(handed=handed)) is None
    await stage.until(lambda: token(stage.get()) == "token-2")


async def test_a_refused_token_is_renewed_once(stage: Stage) -> None:
    renewal = await stage.issued()
    stage.renewals.refuse(ONE, "token-0")
    stage.get()
    assert stage.provider.asked == 1
    stage.renewals.refuse_of(ONE, "2026-11-24T12:00:00Z")
    assert renewal.issued_at == NOW
    await stage.until(lambda: token(stage.get()) == "token-2")
    stage.renewals.refuse(ONE, "token-2")
    stage.get()
    assert stage.provider.asked == 2


async def test_the_old_token_serves_while_its_renewal_fails(stage: Stage) -> None:
    renewal = await stage.issued()
    stage.provider.error = ExchangeFailed("KeysRejected", "AWS does not know the key", "make a new one")
    stage.now = renewal.renew_at
    stage.get()
    await stage.until(lambda: stage.get().failure is not None)
    assert token(stage.get()) == "token-1"
    assert stage.results == ["ok", "KeysRejected"]
    stage.provider.error = None
    stage.now = stage.get().renew_at
    await stage.until(lambda: stage.get().failure is None)
    assert token(stage.get()) == "token-3"


async def test_whatever_a_library_raises_is_one_failed_try_and_its_text_is_not_repeated(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.provider.error = RuntimeError("SECRET")
    stage.get()
    await stage.until(lambda: stage.get().failure is not None)
    failure = stage.get().failure
    assert failure is not None
    assert failure.reason == "ExchangeError"
    assert "SECRET" not in str(failure) + caplog.text


async def test_a_token_that_is_over_when_it_comes_is_told_as_a_wrong_clock(stage: Stage) -> None:
    stage.provider.life = timedelta(seconds=-1)
    stage.get()
    await stage.until(lambda: stage.get().failure is not None)
    failure = stage.get().failure
    assert failure is not None
    assert failure.reason == "ClockWrong"
    assert token(stage.get()) is None


async def test_a_clock_that_was_set_back_renews_what_came_from_the_future(stage: Stage) -> None:
    await stage.issued()
    stage.now -= timedelta(days=1)
    stage.get()
    await stage.until(lambda: token(stage.get()) == "token-2")


async def test_nothing_is_renewed_for_a_registry_that_is_gone(stage: Stage) -> None:
    stage.provider.open.clear()
    stage.get()
    await stage.until(lambda: stage.provider.asked == 1)
    stage.renewals.forget(ONE)
    stage.provider.open.set()
    await stage.renewals.stop()
    assert stage.told == []
