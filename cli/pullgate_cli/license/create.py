"""`license create`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.license.change import parse_end
from pullgate_cli.place.options import PASSED, Where, place_options, run_in

if TYPE_CHECKING:
    from pullgate_cli.place.port import Place

WAIT_SECONDS = 30.0


@click.command()
@click.argument("name")
@click.option("--customer", default="", metavar="TEXT", help="The customer's name.")
@click.option("--email", default="", help="The customer's address.")
@click.option("--customer-id", default="", metavar="ID", help="The customer in your own books.")
@click.option("--from", "begin", metavar="DATE", help="Not valid before.")
@click.option("--until", "end", metavar="DATE", help="Left out: without an end.")
@click.option("--repository", "repositories", multiple=True, metavar="GLOB", help="my-org/api, charts/**; repeatable.")
@click.option("--registry", metavar="NAME", help="Of this Registry.  [default: of every one of the app]")
@click.option("--tag", "tags", multiple=True, metavar="GLOB", help="Only these tags; repeatable.")
@click.option("--semver", metavar="RANGE", help="Only tags in this range, like '>=1.4 <2'.")
@click.option("--dry-run", is_flag=True, help="Print the YAML, for a Git repository, and do nothing else.")
@click.option("--wait/--no-wait", default=True, help="Wait until its key is issued.  [default: wait]")
@place_options
def create(where: Where, name: str, dry_run: bool, wait: bool, **given: Any) -> None:
    """Issue a License. --repository names the images that it may pull; without one, it may pull none."""
    if not given["repositories"]:
        raise click.UsageError("name at least one --repository, like --repository 'my-org/**'")
    document = _build(name, given)
    if dry_run:
        from pullgate_cli.printing import print_data

        _check(document)
        if where.namespace:
            document["metadata"]["namespace"] = where.namespace
        print_data(document, "yaml")
        return

    async def work(place: Place) -> int:
        _check(document)
        if given["end"] and parse_end(given["end"], "--until") <= datetime.now(UTC):
            from pullgate_cli.printing import tell

            tell(f"{given['end']} is past: the License pulls nothing until it is extended")
        click.echo(await place.create(document))
        if wait:
            await _wait(place, name)
        return PASSED

    run_in(where, work)


def _build(name: str, given: Any) -> dict[str, Any]:
    from pullgate.resources.fields import format_time

    customer = {"name": given["customer"], "email": given["email"], "id": given["customer_id"]}
    entitlement: dict[str, Any] = {"registry": given["registry"], "repositories": list(given["repositories"])}
    tags = {"match": list(given["tags"]), "semver": given["semver"]}
    entitlement["tags"] = {k: v for k, v in tags.items() if v}
    spec = {
        "customer": {k: v for k, v in customer.items() if v},
        "notBefore": format_time(parse_end(given["begin"], "--from")) if given["begin"] else None,
        "expiresAt": format_time(parse_end(given["end"], "--until")) if given["end"] else None,
        "entitlements": [{k: v for k, v in entitlement.items() if v}],
    }
    return {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "License",
        "metadata": {"name": name},
        "spec": {k: v for k, v in spec.items() if v},
    }


def _check(document: dict[str, Any]) -> None:
    from pullgate.resources.parse import InvalidResource, parse_resource

    try:
        parse_resource(document)
    except InvalidResource as error:
        raise click.UsageError(str(error)) from error


async def _wait(place: Place, name: str) -> None:
    import asyncio
    import time

    from pullgate.resources.conditions import read_condition
    from pullgate.store.port import Key
    from pullgate_cli.printing import tell

    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        document = await place.fresh(Key("License", place.namespace, name))
        secrets = ((document or {}).get("status") or {}).get("secrets")
        if document is not None and secrets:
            ready = read_condition(document, "Ready")
            tell(f"{ready.get('reason', '')}: {ready.get('message', '')}")
            tell(f"for the customer: pullgate license pull-secret {name}")
            return
        await asyncio.sleep(0.2)
    tell("its key is not issued yet: is the operator, or `pullgate standalone`, running?")
