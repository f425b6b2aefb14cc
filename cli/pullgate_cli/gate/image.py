"""`pullgate image`."""

from __future__ import annotations

import sys
from typing import Any

import click

from pullgate_cli.gate.options import input_options, probe_options, run_probe
from pullgate_cli.lazy import Entry, LazyGroup
from pullgate_cli.place.options import COULD_NOT_RUN, PASSED, Where, output_option, place_options

_HERE = "pullgate_cli.gate.image"
COMMANDS = {
    "test": Entry(_HERE, "test", "Can it be pulled, as the vendor or as a customer?"),
    "list": Entry(_HERE, "list_", "The images of rendered manifests, or of a chart."),
}


@click.group(cls=LazyGroup, entries=COMMANDS)
def image() -> None:
    """Images: which there are, and whether they can be pulled."""


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="REF...")
@click.option("--as", "who", multiple=True, metavar="LICENSE", help="As this customer, through the proxy; repeatable.")
@probe_options
@place_options
def test(where: Where, references: tuple[str, ...], who: tuple[str, ...], **given: Any) -> None:
    """Can these images be pulled, as the vendor or as a customer?"""

    async def images() -> Any:
        from pullgate_cli.gate.inputs import read_all

        return await read_all(references, (), (), (), ())

    run_probe(where, images, who, given)


@click.command(name="list")
@click.argument("files_", nargs=-1, metavar="[FILE|-]...")
@input_options
@output_option
def list_(
    files_: tuple[str, ...],
    files: tuple[str, ...],
    charts: tuple[str, ...],
    values: tuple[str, ...],
    image_paths: tuple[str, ...],
    output: str,
) -> None:
    """The images of rendered manifests (files, folders, standard input) or of a --chart, one in a line."""
    import asyncio

    from pullgate_cli.gate.inputs import read_all
    from pullgate_cli.place.port import PlaceError
    from pullgate_cli.printing import print_data, tell

    try:
        found = asyncio.run(read_all((), files_ + files, charts, image_paths, values))
    except PlaceError as error:
        tell(f"pullgate: {error}")
        sys.exit(COULD_NOT_RUN)
    if not found.names:
        tell("there is no image; name manifests, or a --chart")
        if not (files_ or files or charts):
            sys.exit(COULD_NOT_RUN)
    if output == "table":
        for name in found.names:
            click.echo(name)
    else:
        rows = [{"image": name, "sources": [str(place) for place in found.places[name]]} for name in found.names]
        print_data(rows, output)
    sys.exit(PASSED)
