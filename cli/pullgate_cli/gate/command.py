"""`pullgate gate`."""

from __future__ import annotations

from typing import Any

import click

from pullgate_cli.gate.options import input_options, probe_options, run_probe
from pullgate_cli.place.options import Where, place_options


@click.command()
@click.argument("references", nargs=-1, metavar="[REF]...")
@input_options
@click.option(
    "--as",
    "who",
    multiple=True,
    metavar="LICENSE",
    help="As this customer, through the proxy; `all` for each that is valid now; repeatable.  [default: as the vendor]",
)
@click.option("--in-cluster", is_flag=True, help="Let the operator run it, as an ImageTest that stays as the record.")
@probe_options
@place_options
def gate(where: Where, references: tuple[str, ...], who: tuple[str, ...], **given: Any) -> None:
    """Can all these images be pulled, as the vendor or as each customer? A release gate.

    Images are references, rendered manifests (-f), or charts. Exit code 0: all can be pulled; 1: not all; 2: it could
    not be tried. In GitHub Actions failures become annotations, and the job's summary a table.
    """

    async def images() -> Any:
        from pullgate_cli.gate.inputs import read_all

        return await read_all(references, given["files"], given["charts"], given["image_paths"], given["values"])

    run_probe(where, images, who, given)
