"""`pullgate standalone DIR`: the options, and what to say when they cannot work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pullgate_cli.options import ca_option, private_networks_option, read_settings, serving_options
from pullgate_cli.place.options import COULD_NOT_RUN
from pullgate_cli.printing import tell

if TYPE_CHECKING:
    from pullgate.policy.tenancy import Networks
    from pullgate_proxy.settings import ProxySettings

WILDCARDS = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with, not bound to


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--external-url", metavar="URL", help="How customers name it.  [default: from --listen]")
@ca_option("CA of this certificate, PEM, for ImageTests as a customer; read again for each.")
@private_networks_option
@serving_options
def standalone(
    directory: Path, external_url: str | None, ca: Path | None, private_networks: Networks, **serving: Any
) -> None:
    """Serve the Registries, Licenses and Secrets in DIR, the same YAML that kubectl apply takes.

    Keys and status are kept in DIR/.pullgate. A changed file takes effect within a second.
    """
    listen = serving["listen"]
    if listen[1] == 0 and external_url is None:
        raise click.UsageError("with port 0, --external-url must say how customers reach it")
    settings = read_settings(external_url or default_url(listen, tls=serving["tls_cert"] is not None), **serving)
    sys.exit(run(directory, settings, ca, private_networks))


def run(directory: Path, settings: ProxySettings, ca: Path | None, networks: Networks) -> int:
    """Serve until a signal; the exit code."""
    import asyncio

    from pullgate.log_lines import write_log
    from pullgate.private_memory import keep_memory_private
    from pullgate_cli.serve_folder import CannotServe, serve_until_signal

    keep_memory_private()
    write_log("%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve_until_signal(directory, settings, ca=ca, networks=networks))
    except CannotServe as error:
        tell(f"pullgate: {error}")
        return COULD_NOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):  # a second Ctrl-C, while draining
        return 130
    return 0


def default_url(listen: tuple[str, int], *, tls: bool) -> str:
    """How a client on this machine names it."""
    host, port = listen
    if host in WILDCARDS or host in {"127.0.0.1", "::1"}:
        host = "localhost"
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
