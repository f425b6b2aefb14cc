"""`pullgate standalone DIR`: the options, and what to say when they cannot work."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pullgate_proxy.settings import ProxySettings

WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with, not bound to


def parse_address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    """HOST:PORT; an IPv6 address stands in brackets, and `:PORT` is every address."""
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise click.BadParameter(f"{value!r}: write it like 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option(
    "--listen",
    callback=parse_address,
    metavar="HOST:PORT",
    default="127.0.0.1:8080",
    show_default=True,
    help="Where customers reach it.",
)
@click.option(
    "--admin",
    callback=parse_address,
    metavar="HOST:PORT",
    default="127.0.0.1:8081",
    show_default=True,
    help="/metrics /healthz /readyz.",
)
@click.option("--external-url", metavar="URL", help="How customers name it.  [default: from --listen]")
@click.option("--trusted-proxy", metavar="CIDR", multiple=True, help="Whose X-Forwarded-* are believed; repeatable.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM; read again when it changes.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default="auto", show_default=True)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0, 3600),
    default=30.0,
    metavar="N",
    help="How long bodies may finish.  [default: 30]",
)
def standalone(
    directory: Path,
    listen: tuple[str, int],
    admin: tuple[str, int],
    external_url: str | None,
    trusted_proxy: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    log_format: str,
    drain_seconds: float,
) -> None:
    """Serve the Registries, Licenses and Secrets in DIR, the same YAML that kubectl apply takes.

    Keys and status are kept in DIR/.pullgate. A changed file takes effect within a second.
    """
    from pullgate_proxy.settings import InvalidSettings, ProxySettings, parse_networks

    if listen[1] == 0 and external_url is None:
        raise click.UsageError("with port 0, --external-url must say how customers reach it")
    try:
        settings = ProxySettings(
            listen_host=listen[0],
            listen_port=listen[1],
            admin_host=admin[0],
            admin_port=admin[1],
            external_url=external_url or default_url(listen, tls=tls_cert is not None),
            trusted_proxies=parse_networks(trusted_proxy),
            tls_cert=tls_cert,
            tls_key=tls_key,
            drain_seconds=drain_seconds,
            log_format=log_format,
        )
    except InvalidSettings as error:
        raise click.UsageError(str(error)) from error
    sys.exit(run(directory, settings))


def run(directory: Path, settings: ProxySettings) -> int:
    """Serve until a signal; the exit code."""
    import asyncio
    import logging

    from pullgate_cli.serve_folder import CannotServe, serve_until_signal

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve_until_signal(directory, settings))
    except CannotServe as error:
        click.echo(f"pullgate: {error}", err=True)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):  # a second Ctrl-C, while draining
        return 130
    return 0


def default_url(listen: tuple[str, int], *, tls: bool) -> str:
    """How a client on this machine names it."""
    host, port = listen
    if host in WILDCARDS or host in {"127.0.0.1", "::1"}:
        host = "localhost"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
