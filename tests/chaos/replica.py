"""`python -m tests.chaos.replica DIR`: a `pullgate standalone` with peers, whose options only `pullgate proxy` has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pullgate.policy.tenancy import LOOPBACK
from pullgate_cli.options import parse_address, parse_addresses, read_settings, serving_options
from pullgate_cli.standalone import default_url, run


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@serving_options
@click.option("--peer", multiple=True, callback=parse_addresses)
@click.option("--peer-listen", callback=parse_address, required=True)
def main(directory: Path, peer: tuple[tuple[str, int], ...], **serving: Any) -> None:
    """Serve DIR as one of several replicas."""
    settings = read_settings(default_url(serving["listen"], tls=False), peer_fetch=peer, **serving)
    sys.exit(run(directory, settings, None, LOOPBACK))


if __name__ == "__main__":
    main()
