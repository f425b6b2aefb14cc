"""Which license key is the current one, which are replaced, and when that changes next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pullgate.licensing.keys import digest_text, key_digest, key_id
from pullgate.resources.fields import format_time
from pullgate.resources.license import KeyStatus, License
from pullgate_operator.plan.outcome import Event

RETIRED_LIMIT = 10
"""Replaced keys that stay known when they ended, so that the proxy can say when one was replaced."""
LIVE_LIMIT = 100
"""Replaced keys within their overlap; no further key is issued then, since none of them is dropped before its end."""
ISSUE_LIMIT = 10
ISSUE_WINDOW = timedelta(hours=1)
"""Keys of one License in so long: whatever takes keys away again and again must not end those that customers have."""

ROTATE_ANNOTATION = "pullgate.dev/rotate-key"


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The key that the License's Secret holds."""

    key: str = field(repr=False)
    issued_at: datetime | None
    """As its license file says; None where the file is not signed by us for this License."""

    @property
    def digest(self) -> str:
        """As a status shows it."""
        return digest_text(key_digest(self.key))


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """The keys from now on."""

    key: str = field(repr=False)
    """Empty where there is none, and none may be issued yet: the Secrets stay as they are."""
    keys: tuple[KeyStatus, ...]
    """The current one first."""
    rotate_key: str
    events: tuple[Event, ...]
    due: datetime | None
    paused_until: datetime | None = None
    """When a key may be issued that is wanted now, after too many."""


def plan_keys(
    resource: License, held: HeldKey | None, now: datetime, fresh: Callable[[], str], issued: Sequence[datetime] = ()
) -> KeyPlan:
    """The keys, and what was issued. `fresh` gives a new key; `issued` are times at which that was done before.

    The Secret is the only place that holds a key, so the Secret is written before the status. A key in it that the
    status does not know is therefore one that was issued just before a crash, or a status that was lost: it is taken
    over, provided that its file is signed by us for this License.
    """
    status, spec = resource.status, resource.spec.keys
    current = next((k for k in status.keys if k.replaced_at is None), None)
    wanted = resource.metadata.annotations.get(ROTATE_ANNOTATION, "")
    events: list[Event] = []
    pause = _pause(status.keys, issued, now)
    if current is not None and held is not None and held.digest == current.digest:
        chosen, keys, rotate_key = held.key, status.keys, status.rotate_key
    elif held is not None and held.issued_at is not None and held.digest not in {k.digest for k in status.keys}:
        chosen, rotate_key = held.key, status.rotate_key if current is not None else wanted
        keys = _put_first(resource, held.key, held.issued_at, now)
    elif pause is not None:
        return KeyPlan("", status.keys, status.rotate_key, (), pause, pause)
    else:
        chosen, rotate_key = fresh(), wanted
        keys = _put_first(resource, chosen, now, now)
        events.append(_issued(resource, keys, current))
    must = _must_rotate(resource, keys[0], wanted, rotate_key, now)
    if must and pause is not None:
        return KeyPlan(chosen, keys, rotate_key or status.rotate_key, tuple(events), pause, pause)
    if must:
        old, chosen, rotate_key = keys[0], fresh(), wanted
        keys = _put_first(resource, chosen, now, now, keys)
        events.append(Event("Normal", "KeyRotated", f"key {keys[0].id} replaces {old.id}, {_until(keys[1])}"))
    due = keys[0].issued_at + spec.rotation if spec.rotation is not None else None
    return KeyPlan(chosen, keys, rotate_key or status.rotate_key, tuple(events), due)


def _pause(keys: Sequence[KeyStatus], issued: Sequence[datetime], now: datetime) -> datetime | None:
    """Until when no key may be issued; None: one may."""
    noted = max(_lately([k.issued_at for k in keys], now), _lately(issued, now), key=len)
    ends = sorted(k.expires_at for k in keys if k.replaced_at is not None and k.expires_at and k.expires_at > now)
    if len(ends) >= LIVE_LIMIT:
        return ends[-LIVE_LIMIT]
    return noted[-ISSUE_LIMIT] + ISSUE_WINDOW if len(noted) >= ISSUE_LIMIT else None


def _lately(times: Sequence[datetime], now: datetime) -> list[datetime]:
    return sorted(time for time in times if now - ISSUE_WINDOW < time <= now)


def _must_rotate(resource: License, current: KeyStatus, wanted: str, done: str, now: datetime) -> bool:
    rotation = resource.spec.keys.rotation
    by_schedule = rotation is not None and now >= current.issued_at + rotation
    return by_schedule or (bool(wanted) and wanted != done)


def _put_first(
    resource: License, key: str, issued_at: datetime, now: datetime, keys: tuple[KeyStatus, ...] | None = None
) -> tuple[KeyStatus, ...]:
    digest = key_digest(key)
    moment = now.replace(microsecond=0)
    first = KeyStatus(id=key_id(digest), digest=digest_text(digest), issued_at=issued_at.replace(microsecond=0))
    overlap = resource.spec.keys.overlap
    replaced = [
        k if k.replaced_at is not None else k.model_copy(update={"replaced_at": moment, "expires_at": moment + overlap})
        for k in (resource.status.keys if keys is None else keys)
    ]
    over = [k for k in replaced if k.expires_at is not None and k.expires_at <= now]
    return (first, *(k for k in replaced if k not in over[RETIRED_LIMIT:]))


def _issued(resource: License, keys: tuple[KeyStatus, ...], lost: KeyStatus | None) -> Event:
    if lost is None:
        return Event("Normal", "KeyIssued", f"key {keys[0].id} is issued")
    secret = f"{resource.metadata.name}-license"
    why = f"Secret {secret} no longer holds key {lost.id}, and nothing else does"
    return Event("Warning", "KeyReissued", f"{why}: key {keys[0].id} is issued; the old one works {_until(keys[1])}")


def _until(key: KeyStatus) -> str:
    return f"until {format_time(key.expires_at)}" if key.expires_at is not None else "no longer"
