"""The sources that images are tested at: the Registries of a place, its proxy as a customer, or docker's own logins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pullgate.licensing.marks import TEST_KEY_NAME, Marker, decode_mark_key
from pullgate.oci.reference import InvalidReference, parse_reference
from pullgate.policy.tenancy import EVERYWHERE
from pullgate.providers.handoff import secret_data
from pullgate.resources.registry_type import wire_host
from pullgate.store.port import Document, Key
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.exchange_http import issue_now
from pullgate.upstream.probe import ImageResult, ProbeTarget
from pullgate_cli.gate.docker_config import DockerLogins
from pullgate_cli.gate.report import VENDOR
from pullgate_cli.place.port import NotThere, Place, PlaceError, require
from pullgate_cli.printing import tell
from pullgate_operator.plan.targets import Customer, Sources
from pullgate_operator.reconcile.sources import build_customer, gather_sources

ALL = "all"

Target = ProbeTarget | ImageResult


@dataclass(frozen=True, slots=True)
class Proxy:
    """How to reach the proxy, if the options say it."""

    url: str = ""
    ca_pem: str | None = field(default=None, repr=False)


async def fetch_targets(
    place: Place, images: tuple[str, ...], who: tuple[str, ...], proxy: Proxy
) -> dict[str, list[Target]]:
    """For each who asks (Licenses, or nobody for the vendor) whom to ask for each image. Raises PlaceError."""
    sources = await gather_sources(place, place.namespace, EVERYWHERE, issue_now)
    if not who:
        asker = Sources(place.namespace, sources)
        return {VENDOR: [asker.target(image) for image in images]}
    found: dict[str, list[Target]] = {}
    for document in await _fetch_licenses(place, who):
        customer = await _customer(place, document, proxy)
        asker = Sources(place.namespace, sources, customer)
        found[customer.license] = [asker.target(image) for image in images]
    return found


async def local_targets(
    images: tuple[str, ...], plain_http: frozenset[str], ca_pem: str | None = None
) -> dict[str, list[Target]]:
    """Each image from its own host, with docker's login for it where there is one. Raises PlaceError."""
    logins = DockerLogins.load()
    configs: dict[str, UpstreamConfig] = {}
    targets: list[Target] = []
    for image in images:
        try:
            reference = parse_reference(image)
        except InvalidReference as error:
            targets.append(ImageResult(image, False, reason="ReferenceInvalid", message=str(error)))
            continue
        host = reference.host
        if host not in configs:
            configs[host] = UpstreamConfig(
                registry=host,
                host=host,
                wire_host=wire_host(host),
                credentials=await logins.find(host),
                plain_http=host in plain_http,
                ca_pem=ca_pem,
                networks=EVERYWHERE,
                allow_private=True,
            )
        targets.append(ProbeTarget(image, configs[host], reference.repository, reference.target))
    return {VENDOR: targets}


async def _fetch_licenses(place: Place, who: tuple[str, ...]) -> list[Document]:
    if ALL not in who:
        return [await require(place, "License", name) for name in dict.fromkeys(who)]
    found = [d for d in await place.list("License", place.namespace) if _counts(d["spec"])]
    if not found:
        raise NotThere(f"there is no License in {place.namespace} that is valid now")
    return found


def _counts(spec: Mapping[str, Any]) -> bool:
    """True if `all` includes this License: one that may not pull now is left out."""
    from pullgate.resources.fields import parse_time

    now, begin, end = datetime.now(UTC), spec.get("notBefore"), spec.get("expiresAt")
    begun = not begin or parse_time(str(begin)) <= now
    return spec.get("suspended") is None and begun and (not end or now < parse_time(str(end)))


async def _customer(place: Place, document: Document, proxy: Proxy) -> Customer:
    metadata = document["metadata"]
    name = ((document.get("status") or {}).get("secrets") or {}).get("pull")
    secret = await place.get(Key("Secret", metadata["namespace"], name)) if name else None
    if secret is None:
        raise NotThere(f"License {metadata['name']} has no pull Secret yet; is the operator running?")
    try:
        marker = await _marker(place, metadata["namespace"], metadata["name"])
        return build_customer(metadata["name"], secret, proxy.url, EVERYWHERE, proxy.ca_pem, marker)
    except (ValueError, KeyError) as error:
        raise PlaceError(str(error)) from error


async def _marker(place: Place, namespace: str, license_name: str) -> Marker | None:
    """Tells the proxy that a run as this License is a test; None, and a line to the user, where it cannot be made."""
    try:
        secret = await place.get(Key("Secret", namespace, TEST_KEY_NAME))
        if secret is None:
            raise ValueError("it is not there; is the operator running, in this version?")
        return Marker(decode_mark_key(secret_data(secret)), namespace, license_name)
    except (PlaceError, ValueError) as error:
        why = f"Secret {namespace}/{TEST_KEY_NAME}: {error}"
        tell(f"pullgate: this run counts as pulls of {license_name}, and uses up its limits: {why}")
        return None
