"""`license suspend`, `resume`, `extend` and `rotate`."""

from __future__ import annotations

from collections.abc import Mapping
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
@place_options
def extend(where: Where, name: str, to: str | None, by: str | None, forever: bool) -> None:
    """Move a License's end. The key stays, nobody has to be told."""
    if sum((to is not None, by is not None, forever)) != 1:
        raise click.UsageError("give one of --to DATE, --by DURATION and --forever")
    end = parse_end(to, "--to") if to is not None else None
    longer = _duration(by) if by is not None else None

    def patch(document: Document) -> Mapping[str, Any]:
        from pullgate.resources.fields import format_time, parse_time

        if longer is None:
            return {"spec": {"expiresAt": format_time(end) if end is not None else None}}
        now, before = datetime.now(UTC), document["spec"].get("expiresAt")
        base = max(now, parse_time(str(before))) if before else now
        return {"spec": {"expiresAt": format_time((base + longer).replace(microsecond=0))}}

    _change(where, name, patch)


@click.command()
@click.argument("name")
@place_options
def rotate(where: Where, name: str) -> None:
    """Issue a new key. The old one works for spec.keys.overlap (7 days where nothing is said)."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _change(where, name, lambda _: {"metadata": {"annotations": {"pullgate.dev/rotate-key": moment}}})


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
