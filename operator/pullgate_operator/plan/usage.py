"""When a License's status says anew what it was used for: soon for a first use, seldom for those that follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pullgate.licensing.usage import HOUR, HOURS, Usage
from pullgate.resources.license import KeyStatus, UsageStatus

DAY = timedelta(hours=HOURS)


@dataclass(frozen=True, slots=True)
class UsagePlan:
    """The usage to write to the status, and when to write again."""

    usage: UsageStatus | None
    keys: tuple[KeyStatus, ...]
    due: datetime | None


def plan_usage(
    before: UsageStatus | None, keys: tuple[KeyStatus, ...], found: Usage | None, interval: timedelta, now: datetime
) -> UsagePlan:
    """Compute the usage. Between two writes of one License at least `interval` passes, however often it pulls.

    `found` is None if no proxy reports it: the last count stays until its day is over, then it is zero.
    """
    moment = now.replace(microsecond=0)
    if found is None:
        if before is None or not _counts(before):
            return UsagePlan(before, keys, None)
        over = before.counted_at + DAY
        if now < over:
            return UsagePlan(before, keys, over)
        return UsagePlan(before.model_copy(update={**_NOTHING, "counted_at": moment}), keys, None)
    after = _show(before, found, moment)
    used = tuple(_touch(key, found) for key in keys)
    if before is not None and _same(before, after) and used == keys:
        return UsagePlan(before, keys, _next_hour(now) if _counts(after) else None)
    if before is not None and now < before.counted_at + interval and before.counted_at <= now:
        return UsagePlan(before, keys, before.counted_at + interval)
    return UsagePlan(after, used, _next_hour(now) if _counts(after) else None)


_NOTHING: dict[str, Any] = {"pulls24h": 0, "bytes24h": 0, "denied24h": 0, "tests24h": None}


def _counts(usage: UsageStatus) -> bool:
    return bool(usage.pulls24h or usage.bytes24h or usage.denied24h or usage.tests24h)


def _same(before: UsageStatus, after: UsageStatus) -> bool:
    return after.model_copy(update={"counted_at": before.counted_at}) == before


def _show(before: UsageStatus | None, found: Usage, moment: datetime) -> UsageStatus:
    last = datetime.fromtimestamp(found.last_pull, UTC) if found.last_pull else None
    told = before.last_pull_at if before is not None else None
    return UsageStatus(
        last_pull_at=max((t for t in (last, told) if t is not None), default=None),
        pulls24h=found.counts.pulls,
        bytes24h=found.counts.bytes,
        denied24h=found.counts.denied,
        tests24h=found.counts.tests or None,
        counted_at=moment,
    )


def _touch(key: KeyStatus, found: Usage) -> KeyStatus:
    used = found.key_used.get(key.id)
    if not used:
        return key
    when = datetime.fromtimestamp(used, UTC)
    if key.last_used_at is not None and when <= key.last_used_at:
        return key
    return key.model_copy(update={"last_used_at": when})


def _next_hour(now: datetime) -> datetime:
    """When the oldest hour stops counting."""
    return datetime.fromtimestamp((int(now.timestamp()) // HOUR + 1) * HOUR, UTC)
