"""`pullgate proxy`: answer pulls by a cluster's resources."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pullgate_cli.standalone import parse_address


@click.command()
@click.option(
    "--external-url", envvar="PULLGATE_EXTERNAL_URL", required=True, metavar="URL", help="How customers name it."
)
@click.option(
    "--listen",
    callback=parse_address,
    envvar="PULLGATE_LISTEN",
    metavar="HOST:PORT",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where customers reach it.",
)
@click.option(
    "--admin",
    callback=parse_address,
    envvar="PULLGATE_ADMIN",
    metavar="HOST:PORT",
    default="127.0.0.1:8081",
    show_default=True,
    help="/metrics /healthz /readyz.",
)
@click.option(
    "--trusted-proxy",
    envvar="PULLGATE_TRUSTED_PROXY",
    metavar="CIDR",
    multiple=True,
    help="Whose X-Forwarded-* are believed; repeatable.",
)
@click.option(
    "--tls-cert", envvar="PULLGATE_TLS_CERT", type=click.Path(path_type=Path), help="Certificate chain, PEM; reloaded."
)
@click.option("--tls-key", envvar="PULLGATE_TLS_KEY", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option(
    "--log-format",
    envvar="PULLGATE_LOG_FORMAT",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--drain-seconds",
    envvar="PULLGATE_DRAIN_SECONDS",
    type=click.FloatRange(0, 3600),
    default=30.0,
    metavar="N",
    help="How long bodies may finish.  [default: 30]",
)
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), help="[default: $KUBECONFIG, or the pod's]")
def proxy(
    external_url: str,
    listen: tuple[str, int],
    admin: tuple[str, int],
    trusted_proxy: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    log_format: str,
    drain_seconds: float,
    kubeconfig: Path | None,
) -> None:
    """Answer pulls by the Registries and Licenses of a cluster, from what the operator made of them."""
    import asyncio
    import logging

    from pullgate.store.cluster.api import NotConnected
    from pullgate_proxy.cluster import serve_cluster
    from pullgate_proxy.settings import InvalidSettings, ProxySettings, parse_networks

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        settings = ProxySettings(
            listen_host=listen[0],
            listen_port=listen[1],
            admin_host=admin[0],
            admin_port=admin[1],
            external_url=external_url,
            trusted_proxies=parse_networks(trusted_proxy),
            tls_cert=tls_cert,
            tls_key=tls_key,
            drain_seconds=drain_seconds,
            log_format=log_format,
        )
        asyncio.run(serve_cluster(settings, kubeconfig))
    except (InvalidSettings, NotConnected, OSError) as error:
        click.echo(f"pullgate: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
