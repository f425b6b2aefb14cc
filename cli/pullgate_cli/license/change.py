"""`license suspend`, `resume`, `extend`, `rotate` and `revoke`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.place.options import PASSED, Where, place_options, run_in

if TYPE_CHECKING:
    from pullgate.store.port import Document
    from pullgate_cli.place.port import Place


@click.command()
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Shown to the customer with each refusal.")
@place_options
def suspend(where: Where, name: str, reason: str) -> None:
    """Suspend a License: its next request is refused, on every proxy."""
    _change(where, name, lambda _: {"spec": {"suspended": {"reason": reason} if reason else {}}})


@click.command()
@click.argument("name")
@place_options
def resume(where: Where, name: str) -> None:
    """End a suspension; the key is as good as before."""
    _change(where, name, lambda _: {"spec": {"suspended": None}})


@click.command()
@click.argument("name")
@click.option("--to", metavar="DATE", help="The new end, like 2027-12-31 or 2027-12-31T12:00:00Z.")
@click.option("--by", metavar="DURATION", help="So much later than now or than its end, whichever is later; like 365d.")
@click.option("--forever", is_flag=True, help="Without an end.")
@click.option("--force", is_flag=True, help="Also where that makes it end sooner than now.")
@place_options
def extend(where: Where, name: str, to: str | None, by: str | None, forever: bool, force: bool) -> None:
    """Move a License's end. The key stays, so the customer changes nothing. --force allows an earlier end."""
    if sum((to is not None, by is not None, forever)) != 1:
        raise click.UsageError("give one of --to DATE, --by DURATION and --forever")
    end = parse_end(to, "--to") if to is not None else None
    longer = _duration(by) if by is not None else None

    def patch(document: Document) -> Mapping[str, Any]:
        from pullgate.resources.fields import format_time, later, parse_time

        now, spec = datetime.now(UTC), document["spec"]
        before = parse_time(str(spec["expiresAt"])) if spec.get("expiresAt") else None
        after = later(max(now, before or now), longer) if longer is not None else end
        if not force:
            _require_longer(name, before, after, now)
        return {"spec": {"expiresAt": format_time(after) if after is not None else None}}

    _change(where, name, patch)


def _require_longer(name: str, before: datetime | None, after: datetime | None, now: datetime) -> None:
    """Raises PlaceError unless a License that ended at `before` ends later at `after` (None: never)."""
    from pullgate.resources.fields import format_time
    from pullgate_cli.place.port import PlaceError

    if after is None:
        return
    end = format_time(after)
    if after <= now:
        why = f"{end} is past: License {name} would be refused at once"
    elif before is None:
        why = f"License {name} has no end, and would get one: {end}"
    elif after < before:
        why = f"License {name} ends {format_time(before)}, and would end sooner: {end}"
    else:
        return
    raise PlaceError(f"{why}; give --force if you mean it")


@click.command()
@click.argument("name")
@click.option("--now", "at_once", is_flag=True, help="Revoke every key that works until then: one of them leaked.")
@click.option("--reason", default="", metavar="TEXT", help="With --now: shown to whoever uses a revoked key.")
@place_options
def rotate(where: Where, name: str, at_once: bool, reason: str) -> None:
    """Issue a new key. The old one works for spec.keys.overlap (7 days if that is not set); with --now it ends."""
    if reason and not at_once:
        raise click.UsageError("--reason goes with --now")
    moment = datetime.now(UTC)

    def patch(document: Document) -> Mapping[str, Any]:
        from pullgate_cli.license.keys import working_keys

        if not at_once:
            return {"metadata": {"annotations": {"pullgate.dev/rotate-key": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}}}
        return _revoked(document, working_keys(document, moment), reason)

    _change(where, name, patch)


@click.command()
@click.argument("name")
@click.argument("key_id", metavar="KEYID")
@click.option("--reason", default="", metavar="TEXT", help="Shown to whoever uses the key.")
@place_options
def revoke(where: Where, name: str, key_id: str, reason: str) -> None:
    """End one key of a License: its next request is refused, on every proxy, for good.

    `license show NAME` has the ids of its keys, `license find` that of a key. If it is the current one, a new one is
    issued.
    """
    _change(where, name, lambda document: _revoked(document, [key_id], reason))


def _revoked(document: Document, ids: Sequence[str], reason: str) -> Mapping[str, Any]:
    """A patch that revokes keys. Raises NotThere."""
    from pullgate_cli.license.keys import describe_keys, keys_of
    from pullgate_cli.place.port import NotThere

    name, known = document["metadata"]["name"], {key["id"] for key in keys_of(document)}
    for key_id in ids:
        if key_id not in known:
            raise NotThere(f"License {name} has no key {key_id}; it has {describe_keys(document)}")
    if not ids:
        raise NotThere(f"License {name} has no key that works; `pullgate license show {name}` says more")
    before = (document["spec"].get("keys") or {}).get("revoked") or ()
    patch: dict[str, Any] = {"spec": {"keys": {"revoked": list(dict.fromkeys([*before, *ids]))}}}
    if reason:
        patch["metadata"] = {"annotations": {f"pullgate.dev/revoked-{key_id}": reason for key_id in ids}}
    return patch


def parse_end(text: str, option: str) -> datetime:
    """A date, or a date with a time. Raises click.BadParameter."""
    from pullgate.resources.fields import parse_time

    try:
        return parse_time(f"{text}T00:00:00Z" if len(text) == 10 else text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write it like 2027-12-31", param_hint=option) from error


def _duration(text: str) -> Any:
    from pullgate.resources.fields import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write it like 365d", param_hint="--by") from error


def _change(where: Where, name: str, patch: Any) -> None:
    async def work(place: Place) -> int:
        import copy

        from pullgate.resources.parse import InvalidResource, parse_resource
        from pullgate.store.port import Key
        from pullgate_cli.place.folder import merge
        from pullgate_cli.place.port import PlaceError, require

        document = await require(place, "License", name)
        changes = patch(document)
        try:  # before it is written: a folder has no API server that refuses it
            changed = copy.deepcopy(document)
            merge(changed, changes)
            parse_resource(changed)
        except InvalidResource as error:
            raise PlaceError(str(error)) from error
        click.echo(await place.change(Key("License", place.namespace, name), changes))
        return PASSED

    run_in(where, work)
