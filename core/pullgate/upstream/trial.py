"""Is the login right at an upstream that asks nobody for one? A private image tells: strangers do not get it.

`GET /v2/` proves a login only if strangers are refused there. Artifactory and others with anonymous access let
everybody in, whatever password is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pullgate import faults
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.oci.reference import InvalidReference, is_repository
from pullgate.policy.glob import Globs
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe.check import parse_own_reference
from pullgate.upstream.refusals import Refusals
from pullgate.upstream.request import UpstreamRequest

PLACES: Final = 3
"""Repositories that are asked at most: each costs four requests or so, every few minutes."""

_UNKNOWN = (faults.ManifestUnknown, faults.RepositoryUnknown)
_REFUSED = (faults.UpstreamForbidden, faults.UpstreamUnauthorized)


@dataclass(frozen=True, slots=True)
class Place:
    """An image to try the login at. It need not be there: a login that may look receives `unknown`, not a refusal."""

    repository: str
    reference: str = "latest"


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went. Without a fault and `unproven` the login made a difference: it is right."""

    fault: faults.Fault | None = None
    """The login was refused."""
    unproven: str = ""
    """Why nothing tells whether the login is right."""


def places_of(host: str, image: str | None, repositories: Sequence[str]) -> tuple[Place, ...]:
    """Places to try a login: the named image, then the repositories that are named without wildcards."""
    places: list[Place] = []
    if image is not None:
        try:
            reference = parse_own_reference(host, image)
            places.append(Place(reference.repository, reference.target))
        except InvalidReference:
            pass  # who asks for the image itself says so
    exact = [one for one in repositories if Globs((one,)).exact and is_repository(one)]
    places += [Place(one) for one in exact if one not in {place.repository for place in places}]
    return tuple(places[:PLACES])


async def try_login(config: UpstreamConfig, places: Sequence[Place], refusals: Refusals | None = None) -> Trial:
    """Ask for `places` as a stranger and with the login, until one of them tells. Raises nothing of an upstream."""
    trial = Trial(unproven=f"{config.host} lets strangers in at /v2/, so the login was not tried")
    bare = dataclasses.replace(config, credentials=None)
    async with Upstream(bare) as stranger, Upstream(config, refusals=refusals) as upstream:
        for place in places:
            trial = await _try_at(place, stranger, upstream)
            if not trial.unproven:
                break
    return trial


async def _try_at(place: Place, stranger: Upstream, upstream: Upstream) -> Trial:
    host, repository = upstream.config.host, place.repository
    bare = await _ask(stranger, place)
    if bare is None:
        return Trial(unproven=f"strangers may read {repository} on {host}, too, so the login was not tried")
    if not isinstance(bare, (*_UNKNOWN, *_REFUSED, faults.RealmRefused)):
        return Trial(unproven=f"the login was not tried: {bare.for_vendor}")
    fault = await _ask(upstream, place)
    if isinstance(fault, (faults.UpstreamUnauthorized, faults.RealmRefused)):
        return Trial(fault=fault)
    may_look = isinstance(fault, _UNKNOWN) and isinstance(bare, _REFUSED)
    if fault is None or may_look or upstream.is_login_proven:
        return Trial()
    return Trial(unproven=f"nothing tells whether the login is right: {fault.for_vendor}")


async def _ask(upstream: Upstream, place: Place) -> faults.Fault | None:
    request = UpstreamRequest("HEAD", place.repository, "manifests", place.reference, accept=MANIFEST_TYPES)
    try:
        await upstream.resolve_manifest(request)
    except faults.Fault as fault:
        return fault
    return None
