"""`pullgate proxy`: answer pulls by a cluster's resources."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pullgate_cli.options import FROM_ENVIRONMENT, kubeconfig_option, read_settings, serving_options


@click.command(context_settings=FROM_ENVIRONMENT)
@click.option("--external-url", required=True, metavar="URL", help="How customers name it.")
@serving_options
@kubeconfig_option
def proxy(external_url: str, kubeconfig: Path | None, **serving: Any) -> None:
    """Answer pulls by the Registries and Licenses of a cluster, from what the operator made of them."""
    import asyncio
    import logging

    from pullgate.store.cluster.api import NotConnected
    from pullgate_proxy.cluster import serve_cluster
    from pullgate_proxy.settings import InvalidSettings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = read_settings(external_url, **serving)
    try:
        asyncio.run(serve_cluster(settings, kubeconfig))
    except (InvalidSettings, NotConnected, OSError) as error:
        click.echo(f"pullgate: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
