"""When a schedule is due next: cron's five fields in a time zone, as a Kubernetes CronJob writes them. Pure.

Over a change of the clocks it runs as Debian's cron does: what falls into the skipped hour runs right after it, what
falls into the repeated hour runs once.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIELDS = 5
SCHEDULE_LIMIT = 256
_ANY = datetime(2026, 1, 1, tzinfo=UTC)


class InvalidSchedule(ValueError):
    """A text that is no schedule, or no time zone; the message says which part."""


def next_after(schedule: str, zone: str, moment: datetime) -> datetime:
    """The first time after `moment` that the schedule names, in UTC. Raises InvalidSchedule."""
    if len(schedule) > SCHEDULE_LIMIT:
        raise InvalidSchedule(f"it has more than {SCHEDULE_LIMIT} characters")
    local, fields = moment.astimezone(_zone(zone)), MACROS.get(schedule, schedule)
    if len(fields.split()) != FIELDS:
        raise InvalidSchedule(f"it has {len(fields.split())} fields, not minute, hour, day, month and weekday")
    try:
        return next(CronSim(fields, local)).astimezone(UTC)
    except CronSimError as error:
        raise InvalidSchedule(str(error).lower()) from None
    except StopIteration:
        raise InvalidSchedule("no day is ever like this") from None


def check_schedule(schedule: str) -> str | None:
    """The mistake in `schedule`, or None."""
    try:
        next_after(schedule, "UTC", _ANY)
    except InvalidSchedule as error:
        return str(error)
    return None


def check_zone(zone: str) -> str | None:
    """The mistake in `zone`, or None."""
    try:
        _zone(zone)
    except InvalidSchedule as error:
        return str(error)
    return None


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSchedule(f"no time zone is called {name}") from None
