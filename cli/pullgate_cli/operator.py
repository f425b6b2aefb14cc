"""`pullgate operator`: reconcile a cluster's resources."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from pullgate_cli.options import (
    FROM_ENVIRONMENT,
    admin_option,
    ca_option,
    kubeconfig_option,
    parse_addresses,
    parse_domains_option,
    private_networks_option,
)
from pullgate_cli.place.options import COULD_NOT_RUN, FAILED
from pullgate_cli.printing import tell

if TYPE_CHECKING:
    from pullgate.policy.tenancy import Networks
    from pullgate_operator.settings import OperatorSettings


@click.command(context_settings=FROM_ENVIRONMENT)
@click.option("--external-url", required=True, metavar="URL", help="How customers name the proxy.")
@admin_option
@kubeconfig_option
@click.option(
    "--audit-seconds",
    type=click.FloatRange(1, 3600),
    default=120.0,
    show_default=True,
    help="How often all is listed, to find what the watch did not tell.",
)
@click.option(
    "--proxy-admin",
    metavar="HOST:PORT",
    multiple=True,
    callback=parse_addresses,
    help="Admin port of the proxies, asked for what was pulled; a name may stand for many. Repeatable.",
)
@click.option(
    "--usage-seconds",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="How often the proxies are asked.",
)
@click.option(
    "--own-identity",
    metavar="NAMESPACE",
    multiple=True,
    help="A namespace whose Registries may use the operator's own cloud identity; '*' is all. Repeatable.",
)
@private_networks_option
@click.option(
    "--domains",
    metavar="PATTERNS",
    default="*",
    show_default=True,
    callback=parse_domains_option,
    help="Domains that Registries may claim if their Namespace says nothing: a.example.com,*.example.com; or none.",
)
@ca_option("CA of the proxy, PEM, for ImageTests as a customer; read again for each.")
def operator(
    external_url: str,
    admin: tuple[str, int],
    kubeconfig: Path | None,
    audit_seconds: float,
    proxy_admin: tuple[tuple[str, int], ...],
    usage_seconds: float,
    own_identity: tuple[str, ...],
    private_networks: Networks,
    domains: tuple[str, ...],
    ca: Path | None,
) -> None:
    """Reconcile the Registries and Licenses of a cluster into Secrets, conditions and events."""
    from pullgate.policy.tenancy import TenantPolicy
    from pullgate_operator.settings import OperatorSettings

    if not urlsplit(external_url).netloc:
        raise click.UsageError(f"external URL {external_url!r}: write it like https://images.example.com")
    identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    settings = OperatorSettings(
        external_url,
        identity,
        admin[0],
        admin[1],
        kubeconfig,
        audit_seconds,
        proxy_admin,
        usage_seconds,
        frozenset(own_identity),
        TenantPolicy(domains, private_networks),
        ca,
    )
    sys.exit(_run(settings))


def _run(settings: OperatorSettings) -> int:
    import asyncio

    from pullgate.log_lines import write_log
    from pullgate.private_memory import keep_memory_private
    from pullgate.store.cluster.api import NotConnected
    from pullgate_operator.app import Operator, WatchingEnded
    from pullgate_operator.cluster.lease import LeadershipLost
    from pullgate_operator.log import keep_kopf_brief

    keep_memory_private()
    write_log("%(asctime)s %(levelname)s %(name)s: %(message)s")
    keep_kopf_brief()

    try:
        asyncio.run(Operator(settings).run())
    except (NotConnected, LeadershipLost, WatchingEnded, OSError) as error:
        tell(f"pullgate: {error}")
        return FAILED if isinstance(error, LeadershipLost | WatchingEnded) else COULD_NOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    return 0
