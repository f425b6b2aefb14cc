"""`pullgate proxy`: answer pulls by a cluster's resources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pullgate_cli.options import (
    FROM_ENVIRONMENT,
    kubeconfig_option,
    parse_address,
    parse_addresses,
    read_settings,
    serving_options,
)
from pullgate_cli.place.options import COULD_NOT_RUN
from pullgate_cli.printing import tell


@click.command(context_settings=FROM_ENVIRONMENT)
@click.option("--external-url", required=True, metavar="URL", help="How customers name it.")
@serving_options
@kubeconfig_option
@click.option(
    "--peer-admin",
    metavar="HOST:PORT",
    multiple=True,
    callback=parse_addresses,
    help="Admin port of the replicas, whose counts go into limits; a name may stand for many. Repeatable.",
)
@click.option(
    "--peer",
    metavar="HOST:PORT",
    multiple=True,
    callback=parse_addresses,
    help="Where replicas answer each other: each blob is fetched by one for all; needs --blob-cache. Repeatable.",
)
@click.option(
    "--peer-listen",
    callback=parse_address,
    metavar="HOST:PORT",
    default="127.0.0.1:8082",
    show_default=True,
    help="Where this replica answers the others.",
)
def proxy(
    external_url: str,
    kubeconfig: Path | None,
    peer_admin: tuple[tuple[str, int], ...],
    peer: tuple[tuple[str, int], ...],
    **serving: Any,
) -> None:
    """Answer pulls by the Registries and Licenses of a cluster, from what the operator made of them."""
    import asyncio

    from pullgate.log_lines import write_log
    from pullgate.private_memory import keep_memory_private
    from pullgate.store.cluster.api import NotConnected
    from pullgate_proxy.serve import serve_cluster
    from pullgate_proxy.settings import InvalidSettings

    keep_memory_private()
    write_log("%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings(external_url, peers=peer_admin, peer_fetch=peer, **serving)
    try:
        asyncio.run(serve_cluster(settings, kubeconfig))
    except (InvalidSettings, NotConnected, OSError) as error:
        tell(f"pullgate: {error}")
        sys.exit(COULD_NOT_RUN)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
