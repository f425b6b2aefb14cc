"""Choose the current license key and the replaced ones, and when that changes next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pullgate.faults import plain_text
from pullgate.licensing.keys import digest_text, key_digest, key_id
from pullgate.resources.fields import format_time, later
from pullgate.resources.license import KeyStatus, License
from pullgate_operator.plan.outcome import Event

RETIRED_LIMIT = 10
"""Replaced keys that stay known when they ended, so that the proxy can say when one was replaced."""
LIVE_LIMIT = 100
"""Replaced keys within their overlap; no further key is issued then, since none of them is dropped before its end."""
ISSUED = frozenset({"KeyIssued", "KeyRotated", "KeyReissued"})
"""Reasons of the Events that tell of a new key."""
ISSUE_LIMIT = 10
ISSUE_WINDOW = timedelta(hours=1)
"""Keys of one License in so long: whatever takes keys away again and again must not end those that customers have."""

NEVER = datetime.max.replace(tzinfo=UTC)
ROTATE_ANNOTATION = "pullgate.dev/rotate-key"
REVOKED_ANNOTATION = "pullgate.dev/revoked-"
"""Followed by the id of a key: why it was revoked."""
REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The key that the License's Secret holds."""

    key: str = field(repr=False)
    issued_at: datetime | None
    """As its license file says; None if the file is not signed by us for this License."""

    @property
    def digest(self) -> str:
        """As a status shows it."""
        return digest_text(key_digest(self.key))


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """The keys from now on."""

    key: str = field(repr=False)
    """Empty if there is none, and none may be issued yet: the Secrets stay as they are."""
    keys: tuple[KeyStatus, ...]
    """The current one first."""
    rotate_key: str
    events: tuple[Event, ...]
    due: datetime | None
    paused_until: datetime | None = None
    """When a key may be issued that is wanted now, after too many."""


def plan_keys(
    resource: License,
    held: HeldKey | None,
    now: datetime,
    fresh: Callable[[], str] | None,
    issued: Sequence[datetime] = (),
) -> KeyPlan:
    """The keys, and what was issued. `fresh` gives a new key; without it none is issued.

    `issued` are times at which keys were issued before.

    The Secret is the only place that holds a key, so the Secret is written before the status. A key in it that the
    status does not know is therefore one that was issued just before a crash, or a status that was lost: it is taken
    over, provided that its file is signed by us for this License.
    """
    status, spec = resource.status, resource.spec.keys
    before = _end_early(resource, now)
    events = [_revoked(k) for k, old in zip(before, status.keys, strict=True) if k.revoked_at != old.revoked_at]
    current = next((k for k in before if k.replaced_at is None), None)
    wanted = resource.metadata.annotations.get(ROTATE_ANNOTATION, "")
    pause = _pause(before, issued, now) if fresh is not None else NEVER
    make = _unlike(fresh, {*spec.revoked, *(k.id for k in before)})
    if current is not None and held is not None and held.digest == current.digest:
        chosen, keys, rotate_key = held.key, before, status.rotate_key
    elif held is not None and _may_take_over(held, before, spec.revoked):
        chosen, rotate_key = held.key, status.rotate_key if current is not None else wanted
        keys = _put_first(resource, before, held.key, held.issued_at or now, now)
    elif pause is not None:
        return KeyPlan("", before, status.rotate_key, tuple(events), pause, pause)
    else:
        chosen, rotate_key = make(), wanted
        keys = _put_first(resource, before, chosen, now, now)
        events.append(_issued(resource, keys, current))
    must = _must_rotate(resource, keys[0], wanted, rotate_key, now)
    if must and pause is not None:
        return KeyPlan(chosen, keys, rotate_key or status.rotate_key, tuple(events), pause, pause)
    if must:
        old, chosen, rotate_key = keys[0], make(), wanted
        keys = _put_first(resource, keys, chosen, now, now)
        events.append(Event("Normal", "KeyRotated", f"key {keys[0].id} replaces {old.id}, {_until(keys[1])}"))
    due = later(keys[0].issued_at, spec.rotation) if spec.rotation is not None else None
    return KeyPlan(chosen, keys, rotate_key or status.rotate_key, tuple(events), due)


def unknown_revoked(resource: License, keys: Sequence[KeyStatus]) -> list[str]:
    """The ids in spec.keys.revoked that no key of this License has: a revoked key stays known, so they are mistyped."""
    known = {key.id for key in keys}
    return [id_ for id_ in resource.spec.keys.revoked if id_ not in known]


def _end_early(resource: License, now: datetime) -> tuple[KeyStatus, ...]:
    """The keys as spec.keys ends them now: the overlap counts for all that still work, and what is revoked is over."""
    moment, spec, found = now.replace(microsecond=0), resource.spec.keys, []
    for key in resource.status.keys:
        if key.id in spec.revoked:
            found.append(_revoke(key, resource.metadata.annotations.get(REVOKED_ANNOTATION + key.id, ""), moment))
        elif key.replaced_at is not None and not _is_over(key, now):
            found.append(key.model_copy(update={"expires_at": later(key.replaced_at, spec.overlap)}))
        else:
            found.append(key)
    return tuple(found)


def _revoke(key: KeyStatus, why: str, moment: datetime) -> KeyStatus:
    changes: dict[str, object] = {"revoked_reason": plain_text(why, REASON_LIMIT) or None}
    if key.revoked_at is None:
        ends = min(key.expires_at or moment, moment)
        changes |= {"revoked_at": moment, "replaced_at": key.replaced_at or moment, "expires_at": ends}
    return key.model_copy(update=changes)


def _is_over(key: KeyStatus, now: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= now


def _may_take_over(held: HeldKey, keys: Sequence[KeyStatus], revoked: Sequence[str]) -> bool:
    known = held.digest in {k.digest for k in keys} or key_id(key_digest(held.key)) in revoked
    return held.issued_at is not None and not known


def _unlike(fresh: Callable[[], str] | None, ids: Collection[str]) -> Callable[[], str]:
    """Keys whose ids, of 20 bits, are none of `ids`: the id of a revoked key must name no other one."""

    def make() -> str:
        for _ in range(100):
            key = fresh() if fresh is not None else ""
            if key_id(key_digest(key)) not in ids:
                return key
        raise ValueError("no new key is unlike those that there are")

    return make


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
    by_schedule = rotation is not None and now >= later(current.issued_at, rotation)
    return by_schedule or (bool(wanted) and wanted != done)


def _put_first(
    resource: License, keys: Sequence[KeyStatus], key: str, issued_at: datetime, now: datetime
) -> tuple[KeyStatus, ...]:
    digest = key_digest(key)
    moment = now.replace(microsecond=0)
    first = KeyStatus(id=key_id(digest), digest=digest_text(digest), issued_at=issued_at.replace(microsecond=0))
    ended = {"replaced_at": moment, "expires_at": later(moment, resource.spec.keys.overlap)}
    replaced = [k if k.replaced_at is not None else k.model_copy(update=ended) for k in keys]
    over = [k for k in replaced if _is_over(k, now) and k.id not in resource.spec.keys.revoked]
    return (first, *(k for k in replaced if k not in over[RETIRED_LIMIT:]))


def _revoked(key: KeyStatus) -> Event:
    why = f": {key.revoked_reason}" if key.revoked_reason else ""
    return Event("Warning", "KeyRevoked", f"key {key.id} is revoked{why}")


def _issued(resource: License, keys: tuple[KeyStatus, ...], lost: KeyStatus | None) -> Event:
    if lost is None:
        return Event("Normal", "KeyIssued", f"key {keys[0].id} is issued")
    secret = f"{resource.metadata.name}-license"
    why = f"Secret {secret} no longer holds key {lost.id}, and nothing else does"
    return Event("Warning", "KeyReissued", f"{why}: key {keys[0].id} is issued; the old one works {_until(keys[1])}")


def _until(key: KeyStatus) -> str:
    return f"until {format_time(key.expires_at)}" if key.expires_at is not None else "no longer"
