"""Step by step to a registry: name, connection, TLS, ping, challenge, login, scope, an image. Stops at the first fault.

A Registry's check reports the same in one condition; these steps are for a person at a terminal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from yarl import URL

from pullgate import faults
from pullgate.oci.challenge import parse_challenges
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.guard import name_of, parse_url
from pullgate.upstream.ratelimit import seconds_of
from pullgate.upstream.request import UpstreamRequest
from pullgate.upstream.trial import Place, places_of, try_login

PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Image:
    """The image that the last step requests."""

    repository: str
    reference: str
    """Tag or digest."""


@dataclass(frozen=True, slots=True)
class DiagnosedStep:
    """One step and how it went."""

    name: str
    seconds: float
    text: str = ""
    fault: faults.Fault | None = None
    unproven: bool = False
    """Nothing tells whether the step succeeded; `text` says why. The next steps still run."""

    @property
    def passed(self) -> bool:
        """True if the step succeeded."""
        return self.fault is None and not self.unproven


class NotProven(Exception):
    """A step that could not be tried; its message says why."""


Walk = Callable[[], Awaitable[str]]


async def diagnose(
    config: UpstreamConfig, image: Image | None = None, repositories: Sequence[str] = ()
) -> AsyncIterator[DiagnosedStep]:
    """Each step as it is done; the last one holds the fault where there is one.

    `repositories`: patterns of the Registry. One without wildcards proves the login where `image` does not.
    """
    named = [Place(image.repository, image.reference)] if image is not None else []
    places = [*named, *places_of(config.host, None, repositories)]
    bare = dataclasses.replace(config, credentials=None)
    async with Upstream(bare) as stranger, Upstream(config) as upstream:
        walks: list[tuple[str, Walk]] = [
            ("name", lambda: _resolve(stranger)),
            ("connection", lambda: _connect(stranger)),
        ]
        if not config.plain_http:
            walks.append(("TLS", lambda: _shake_hands(stranger)))
        walks += [("ping", lambda: _ping(stranger)), ("login", lambda: _log_in(upstream, places))]
        if image is not None:
            walks.append(("image", lambda: _fetch(upstream, image)))
        for name, walk in walks:
            began = time.monotonic()
            try:
                text = await walk()
            except faults.Fault as fault:
                yield DiagnosedStep(name, time.monotonic() - began, fault=fault)
                return
            except Transient as transient:
                yield DiagnosedStep(name, time.monotonic() - began, fault=transient.fault)
                return
            except NotProven as unproven:
                yield DiagnosedStep(name, time.monotonic() - began, str(unproven), unproven=True)
                continue
            yield DiagnosedStep(name, time.monotonic() - began, text)


def _address(config: UpstreamConfig) -> tuple[str, int]:
    url = URL(f"{'http' if config.plain_http else 'https'}://{config.wire_host}")
    return url.raw_host or "", url.port or PORTS[url.scheme]


async def _resolve(stranger: Upstream) -> str:
    config, proxy = stranger.config, stranger.egress_proxy
    host, port = _address(config)
    if proxy is not None:
        return f"{host} is resolved by the egress proxy {proxy}"
    try:
        async with asyncio.timeout(config.timeouts.connect):
            rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    except TimeoutError:
        raise faults.UpstreamTimeout(config.host, config.timeouts.connect) from None
    except OSError:
        raise faults.UpstreamUnreachable(config.host, "name does not resolve") from None
    found = sorted({str(row[4][0]) for row in rows})
    return f"{host} is {', '.join(found[:3])}" + (" and more" if len(found) > 3 else "")


async def _connect(stranger: Upstream) -> str:
    config, proxy = stranger.config, stranger.egress_proxy
    host, port = _address(config)
    if proxy is not None:
        host, _, proxy_port = proxy.rpartition(":")
        port = int(proxy_port)
    try:
        async with asyncio.timeout(config.timeouts.connect):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise faults.UpstreamTimeout(config.host, config.timeouts.connect) from None
    except OSError as error:
        why = (error.strerror or "no connection").lower()
        if proxy is not None:
            why = f"no connection to the egress proxy {proxy}: {why}"
        raise faults.UpstreamUnreachable(config.host, why) from None
    writer.close()
    return f"port {port} is open" if proxy is None else f"the egress proxy {proxy} is there"


async def _shake_hands(stranger: Upstream) -> str:
    """Any answer will do: the certificate was judged before it. The pooled connection serves the ping."""
    response = await stranger.knock()
    response.release()
    return "the certificate is trusted" + (", also by the Registry's CA" if stranger.config.ca_pem else "")


async def _ping(stranger: Upstream) -> str:
    response = await stranger.knock()
    challenges = response.headers.getall("WWW-Authenticate", ())
    response.release()
    if response.status == 200:
        response.refuse_page()
        return "it lets everybody in"
    if response.status in {401, 403}:
        return f"it asks for a login: {_describe(challenges)}"
    if response.status == 429:
        wait = response.headers.get("Retry-After")
        raise faults.UpstreamRateLimited(stranger.config.host, seconds_of(wait, time.time()))
    if response.status >= 500:
        raise faults.UpstreamError(stranger.config.host, response.status)
    raise faults.UpstreamProtocol(stranger.config.host, f"status {response.status} for /v2/: is this a registry?")


def _describe(values: Sequence[str]) -> str:
    for challenge in parse_challenges(values):
        if challenge.scheme == "bearer":
            url = parse_url(challenge.parameters.get("realm", ""))
            return f"Bearer, tokens from {name_of(url) if url is not None and url.absolute else 'an unnamed server'}"
        if challenge.scheme == "basic":
            return "Basic"
    return "no way that is known"


async def _log_in(upstream: Upstream, places: Sequence[Place]) -> str:
    response = await upstream.ping()
    response.release()
    credentials = upstream.config.credentials
    if credentials is None:
        return "anonymous is let in"
    if response.shown is None:
        trial = await try_login(upstream.config, places)
        if trial.fault is not None:
            raise trial.fault
        if trial.unproven:
            raise NotProven(f"not proven: {trial.unproven}")
    return f"{credentials.account} is let in"


async def _fetch(upstream: Upstream, image: Image) -> str:
    request = UpstreamRequest("GET", image.repository, "manifests", image.reference, accept=MANIFEST_TYPES)
    fetched = await upstream.fetch_manifest(request)
    return f"{image.repository}{'@' if ':' in image.reference else ':'}{image.reference} is {fetched.digest}"
