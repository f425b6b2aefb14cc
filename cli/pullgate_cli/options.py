"""Options that several commands have, and what they mean to the proxy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

if TYPE_CHECKING:
    from pullgate.policy.tenancy import Networks
    from pullgate_proxy.settings import ProxySettings

Command = TypeVar("Command", bound=Callable[..., Any])


def gather(command: Command, wrapped: Callable[..., Any], options: Sequence[Callable[[Any], Any]]) -> Command:
    """`command` with `options` before its own, which `wrapped` turns into the one argument that `command` gets."""
    wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(options):
        wrapped = option(wrapped)
    return cast("Command", wrapped)


FROM_ENVIRONMENT: Final = {"auto_envvar_prefix": "PULLGATE"}
"""Context settings of a command that a Deployment runs: --some-flag can be given as PULLGATE_SOME_FLAG."""


def parse_address(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, int]:
    """HOST:PORT; an IPv6 address stands in brackets, and `:PORT` is every address."""
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise click.BadParameter(f"{value!r}: write it like 127.0.0.1:8080")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104


_UNITS: Final = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def parse_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Bytes, as a quantity of Kubernetes writes them: 500Mi, 10Gi."""
    found = re.fullmatch(r"(\d{1,15})([KMGT]i)?", value, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{value!r}: write it like 10Gi")
    return int(found[1]) * _UNITS[found[2] or ""]


def parse_addresses(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """Several of HOST:PORT."""
    return tuple(parse_address(ctx, param, value) for value in values)


def _address(name: str, default: str, help_: str) -> Callable[[Command], Command]:
    return click.option(
        name, callback=parse_address, metavar="HOST:PORT", default=default, show_default=True, help=help_
    )


listen_option = _address("--listen", "127.0.0.1:8080", "Where customers reach it.")
admin_option = _address("--admin", "127.0.0.1:8081", "/metrics /healthz /readyz.")


def _check_ca(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    from pullgate.tls_context import InvalidCA, read_ca_file

    if value is not None:
        try:
            read_ca_file(value)
        except InvalidCA as error:
            raise click.BadParameter(str(error)) from error
    return value


def ca_option(help_: str) -> Callable[[Command], Command]:
    """`--ca FILE`: certificates that are trusted beside the system's; `read_ca_file` reads them."""
    return click.option("--ca", type=click.Path(path_type=Path), callback=_check_ca, metavar="FILE", help=help_)


def _parse_networks(ctx: click.Context, param: click.Parameter, value: str) -> Networks:
    from pullgate.policy.tenancy import InvalidPolicy, parse_networks

    try:
        return parse_networks(value)
    except InvalidPolicy as error:
        raise click.BadParameter(str(error)) from error


def parse_domains_option(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Patterns of domains, separated by commas; `none` is no domain."""
    from pullgate.policy.tenancy import InvalidPolicy, parse_domains

    if value.strip() == "none":  # click takes an empty variable as one that is not set
        return ()
    try:
        return parse_domains(value)
    except InvalidPolicy as error:
        raise click.BadParameter(str(error)) from error


private_networks_option = click.option(
    "--private-networks",
    metavar="CIDR,...",
    default="",
    callback=_parse_networks,
    help="Private networks that upstreams may be in; '*' is all but loopback.  [default: none]",
)

kubeconfig_option = click.option(
    "--kubeconfig", type=click.Path(exists=True, path_type=Path), help="[default: $KUBECONFIG, or the pod's]"
)

_SERVING: Final = (
    listen_option,
    admin_option,
    click.option(
        "--trusted-proxy", metavar="CIDR", multiple=True, help="Whose X-Forwarded-* are believed; repeatable."
    ),
    click.option(
        "--tls-cert", type=click.Path(path_type=Path), help="Certificate chain, PEM; read again when it changes."
    ),
    click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, PEM."),
    click.option("--log-format", type=click.Choice(["auto", "text", "json"]), default="auto", show_default=True),
    click.option(
        "--manifest-cache",
        type=click.IntRange(0, 64 * 1024),
        default=64,
        show_default=True,
        metavar="MIB",
        help="Memory for manifests; 0 keeps none.",
    ),
    click.option(
        "--blob-cache",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Directory to keep blobs in; nobody else writes there.  [default: none are kept]",
    ),
    click.option(
        "--blob-cache-size",
        callback=parse_size,
        default="10Gi",
        show_default=True,
        metavar="SIZE",
        help="Bytes of blobs that are kept at most, like 500Mi or 10Gi.",
    ),
    click.option(
        "--blob-cache-files", type=click.IntRange(16), default=100_000, show_default=True, help="Blobs kept at most."
    ),
    click.option(
        "--object-store",
        metavar="s3://BUCKET/PREFIX",
        help="Second tier for blobs; needs --blob-cache. Credentials as the AWS command line finds them.",
    ),
    click.option("--object-store-endpoint", metavar="URL", help="Where it is, if not at AWS."),
    click.option(
        "--max-memory",
        type=click.IntRange(64, 1024 * 1024),
        metavar="MIB",
        help="Memory near whose end new pulls are refused.  [default: what the cgroup allows]",
    ),
    click.option(
        "--drain-seconds",
        type=click.FloatRange(0, 3600),
        default=30.0,
        metavar="N",
        help="How long bodies may finish.  [default: 30]",
    ),
)


def serving_options(command: Command) -> Command:
    """The options of a command that serves the proxy; `read_settings` takes them."""
    for option in reversed(_SERVING):
        command = option(command)
    return command


def read_settings(
    external_url: str,
    *,
    listen: tuple[str, int],
    admin: tuple[str, int],
    trusted_proxy: tuple[str, ...],
    manifest_cache: int = 64,
    object_store: str | None = None,
    object_store_endpoint: str | None = None,
    max_memory: int | None = None,
    **same: Any,
) -> ProxySettings:
    """The settings that the options say. Raises click.UsageError."""
    from pullgate_proxy.cache.blobs.objects import parse_location
    from pullgate_proxy.settings import ProxySettings, parse_networks

    try:
        return ProxySettings(
            listen_host=listen[0],
            listen_port=listen[1],
            admin_host=admin[0],
            admin_port=admin[1],
            external_url=external_url,
            trusted_proxies=parse_networks(trusted_proxy),
            manifest_cache=manifest_cache * 1024 * 1024,
            object_store=parse_location(object_store, object_store_endpoint) if object_store else None,
            max_memory=max_memory * 1024 * 1024 if max_memory is not None else None,
            **same,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
