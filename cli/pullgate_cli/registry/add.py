"""`registry add`."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from pullgate_cli.place.options import FAILED, PASSED, Where, place_options, run_in
from pullgate_cli.printing import render_yaml
from pullgate_cli.registry.subject import description_options

if TYPE_CHECKING:
    from pullgate_cli.place.port import Place
    from pullgate_cli.registry.subject import Described


@click.command()
@click.argument("name")
@description_options
@click.option("--image", metavar="REPOSITORY[:TAG]", help="Fetch its manifest in the test, too.")
@click.option("--no-test", is_flag=True, help="Do not test it first.")
@click.option("--dry-run", is_flag=True, help="Print the YAML and do nothing else; the password is left out of it.")
@place_options
def add(
    where: Where,
    name: str,
    described: Described | None,
    image: str | None,
    no_test: bool,
    dry_run: bool,
) -> None:
    """Add a Registry and its Secrets, tested first: nothing is added that does not work."""
    if described is None:
        raise click.UsageError("describe it: --type, and --host, --username, --password-stdin as it needs them")
    from pullgate_cli.registry.subject import build_ca_secret, build_document, build_secret, described_subject
    from pullgate_cli.registry.test import examine

    subject = described_subject(described, name, where.namespace or "default")
    if not no_test and (code := asyncio.run(examine(subject, image, "table"))) != PASSED:
        click.echo("pullgate: nothing was added; --no-test adds it all the same", err=True)
        sys.exit(code or FAILED)
    secret_name = f"{name}-credentials"
    if dry_run:
        namespace = where.namespace or "default"
        documents = [build_document(described, name, namespace, secret_name)]
        if described.username:
            secret = build_secret(described, secret_name, namespace)
            secret["stringData"]["password"] = "PUT-THE-PASSWORD-HERE"  # noqa: S105 - not one
            if described.username == described.password:  # a token as user and password both
                secret["stringData"] = dict.fromkeys(("username", "password"), "PUT-THE-TOKEN-HERE")
            documents.append(secret)
        if described.ca_pem is not None:
            documents.append(build_ca_secret(described, name, namespace))
        click.echo(render_yaml(*documents), nl=False)
        return

    async def work(place: Place) -> int:
        if described.username:
            click.echo(await place.create(build_secret(described, secret_name, place.namespace)))
        if described.ca_pem is not None:
            click.echo(await place.create(build_ca_secret(described, name, place.namespace)))
        click.echo(await place.create(build_document(described, name, place.namespace, secret_name)))
        return PASSED

    run_in(where, work)
