"""The registry that a command is about: a Registry of the place, or one that the options describe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pullgate.resources.registry_type import REGISTRY_TYPES
from pullgate_cli.options import ca_option, gather

if TYPE_CHECKING:
    from pullgate.providers.exchange import Issued
    from pullgate.resources import Registry
    from pullgate.upstream.config import UpstreamConfig
    from pullgate_cli.place.port import Place

Command = TypeVar("Command", bound=Callable[..., Any])
SECRET_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Described:
    """The options' description of a registry that is no resource yet."""

    type: str
    host: str | None
    username: str | None
    password: str | None
    plain_http: bool
    ca_pem: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Subject:
    """A Registry and how to connect to its upstream."""

    resource: Registry
    config: UpstreamConfig
    problem: str = ""
    """Why there are no credentials; then `config` has none."""
    fix: str = ""
    reason: str = ""
    issued: Issued | None = None
    """The token that was requested just now; `seconds` is how long that took."""
    seconds: float = 0.0
    was_issued: bool = False
    """True if the credentials are a token, requested now or before, and not what the vendor wrote."""


def description_options(command: Command) -> Command:
    """`--type`, `--host`, `--username`, `--password-stdin`, `--plain-http`, `--ca`: the command gets `described`.

    `described` is None if none of them is given.
    """

    def wrapped(
        type_: str | None,
        host: str | None,
        username: str | None,
        password_stdin: bool,
        plain_http: bool,
        ca: Path | None,
        **same: Any,
    ) -> Any:
        return command(described=_described(type_, host, username, password_stdin, plain_http, ca), **same)

    return gather(command, wrapped, _OPTIONS)


_OPTIONS = (
    click.option("--type", "type_", type=click.Choice(list(REGISTRY_TYPES), case_sensitive=False), metavar="TYPE"),
    click.option("--host", metavar="HOST[:PORT]", help="May be left out where the type fixes it."),
    click.option("--username", metavar="TEXT", help="Left out: anonymous."),
    click.option("--password-stdin", is_flag=True, help="Read the password from standard input."),
    click.option("--plain-http", is_flag=True, help="No TLS."),
    ca_option("CA of the registry, PEM."),
)


def _described(
    type_: str | None,
    host: str | None,
    username: str | None,
    password_stdin: bool,
    plain_http: bool,
    ca: Path | None,
) -> Described | None:
    if type_ is None:
        if host or username or password_stdin or plain_http or ca:
            raise click.UsageError("say --type, too: one of " + ", ".join(REGISTRY_TYPES))
        return None
    from pullgate.tls_context import read_ca_file

    if plain_http and ca is not None:
        raise click.UsageError("--plain-http has no certificate to check; leave out --ca")
    if (username is None) == password_stdin:
        raise click.UsageError("give --username and --password-stdin together, or neither for anonymous")
    password = sys.stdin.read(SECRET_LIMIT).rstrip("\r\n") if password_stdin else None
    if password == "":
        raise click.UsageError("standard input held no password")
    return Described(type_, host, username, password, plain_http, read_ca_file(ca) if ca is not None else None)


def build_document(described: Described, name: str, namespace: str, secret: str) -> dict[str, Any]:
    """The Registry that the options describe."""
    credentials: dict[str, Any] = {"secretRef": {"name": secret}} if described.username else {"anonymous": {}}
    spec: dict[str, Any] = {"type": described.type, "host": described.host, "credentials": credentials}
    if described.plain_http:
        spec["tls"] = {"plainHTTP": True}
    elif described.ca_pem is not None:
        spec["tls"] = {"caSecretRef": {"name": ca_secret_name(name), "key": "ca.crt"}}
    return {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "Registry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {k: v for k, v in spec.items() if v is not None},
    }


def build_secret(described: Described, name: str, namespace: str) -> dict[str, Any]:
    """Its credentials."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": described.username, "password": described.password},
    }


def ca_secret_name(registry: str) -> str:
    """The Secret that `registry add` puts a Registry's CA in."""
    return f"{registry}-ca"


def build_ca_secret(described: Described, name: str, namespace: str) -> dict[str, Any]:
    """The CA of the Registry `name`."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": ca_secret_name(name), "namespace": namespace},
        "stringData": {"ca.crt": described.ca_pem},
    }


def described_subject(described: Described, name: str = "registry", namespace: str = "default") -> Subject:
    """The Subject that the options describe. Raises click.UsageError."""
    from pullgate.policy.tenancy import EVERYWHERE
    from pullgate.providers.credentials import Credentials
    from pullgate.providers.exchange import CredentialsInvalid
    from pullgate.providers.resolve import BASIC_AUTH, resolve_credentials
    from pullgate.resources import InvalidResource, Registry, parse_resource
    from pullgate.upstream.compile import upstream_config

    try:
        resource = parse_resource(build_document(described, name, namespace, name))
    except InvalidResource as error:
        raise click.UsageError(str(error)) from error
    if not isinstance(resource, Registry):
        raise TypeError("no Registry")
    credentials = None
    if described.username and described.password:
        data = {"username": described.username.encode(), "password": described.password.encode()}
        try:
            found = resolve_credentials(described.type, BASIC_AUTH, data, resource.spec.host)
        except CredentialsInvalid as error:
            raise click.UsageError(str(error).replace(" in it", "")) from error
        credentials = found if isinstance(found, Credentials) else None  # basic-auth is never exchanged
    return Subject(resource, upstream_config(resource, EVERYWHERE, credentials, described.ca_pem))


async def fetch_subject(place: Place, name: str, *, fresh: bool = False) -> Subject:
    """The Registry `name` of the place with the credentials of its Secret. Raises PlaceError.

    `fresh`: keys are exchanged for a token even where the operator has one.
    """
    from pullgate.policy.tenancy import EVERYWHERE
    from pullgate.resources import InvalidResource, Registry, parse_resource
    from pullgate.upstream.compile import upstream_config
    from pullgate.upstream.exchange_http import issue_now
    from pullgate_cli.place.port import PlaceError, require
    from pullgate_operator.reconcile.sources import gather_source

    document = await require(place, "Registry", name)
    try:
        resource = parse_resource(document)
    except InvalidResource as error:
        raise PlaceError(str(error)) from error
    if not isinstance(resource, Registry):
        raise TypeError("no Registry")
    began = time.monotonic()
    source = await gather_source(place, resource, EVERYWHERE, issue_now, fresh=fresh)
    config = source.config or upstream_config(resource, EVERYWHERE)
    seconds = time.monotonic() - began
    return Subject(
        resource, config, source.problem, source.fix, source.reason, source.issued, seconds, source.was_issued
    )
