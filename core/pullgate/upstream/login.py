"""Checks for a Registry's conditions: does it answer, and does it accept the credentials?"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from pullgate import faults
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.refusals import Refusals
from pullgate.upstream.request import UpstreamRequest
from pullgate.upstream.trial import Place, try_login

_LIMIT = re.compile(r"(\d{1,12})(?:;w=(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quota:
    """Docker Hub's `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`."""

    limit: int
    remaining: int | None
    window: float | None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class LoginResult:
    """How a ping with login went."""

    latency: float
    """Seconds."""
    fault: faults.Fault | None = None
    """None: it is reachable and refuses nothing."""
    quota: Quota | None = None
    unproven: str = ""
    """Why nothing tells whether the credentials are right, as the upstream let them in unseen."""

    @property
    def reachable(self) -> bool:
        """True if the registry answered at all, if only to refuse."""
        return self.fault is None or isinstance(self.fault, _ANSWERED)

    @property
    def authenticated(self) -> bool:
        """True if the upstream let the credentials in, or lets everybody in where there are none."""
        return self.fault is None and not self.unproven


_ANSWERED = (faults.UpstreamUnauthorized, faults.UpstreamForbidden, faults.UpstreamRateLimited, faults.RealmRefused)


async def check_login(
    config: UpstreamConfig,
    quota_of: tuple[str, str] | None = None,
    places: Sequence[Place] = (),
    refusals: Refusals | None = None,
) -> LoginResult:
    """`GET /v2/` with the credentials. Raises nothing of an upstream: its fault is in the result.

    `quota_of`: repository and tag whose HEAD tells the rate limit, where the ping does not (Docker Hub, which does not
    count a HEAD). `places`: where the credentials are tried if the upstream does not ask for them at /v2/.
    `refusals`: logins that must not be tried now, see `Upstream`.
    """
    began = time.monotonic()
    async with Upstream(config, refusals=refusals) as upstream:
        try:
            response = await upstream.ping()
            response.refuse_page()
        except faults.Fault as fault:
            return LoginResult(time.monotonic() - began, fault)
        response.release()
        latency, quota = time.monotonic() - began, _quota_of(response.headers)
        if quota is None and quota_of is not None:
            quota = await _ask_quota(upstream, *quota_of)
    if config.credentials is None or response.shown is not None:
        return LoginResult(latency, None, quota)
    trial = await try_login(config, places, refusals)
    return LoginResult(latency, trial.fault, quota, trial.unproven)


async def _ask_quota(upstream: Upstream, repository: str, tag: str) -> Quota | None:
    try:
        response = await upstream.send(UpstreamRequest("HEAD", repository, "manifests", tag, accept=MANIFEST_TYPES))
    except faults.Fault:
        return None  # what is left of the limit is good to know, and no reason to fail
    response.release()
    return _quota_of(response.headers)


def _quota_of(headers: CIMultiDictProxy[str]) -> Quota | None:
    limit = _LIMIT.match(headers.get("ratelimit-limit", ""))
    if limit is None:
        return None
    remaining = _LIMIT.match(headers.get("ratelimit-remaining", ""))
    return Quota(int(limit[1]), int(remaining[1]) if remaining else None, float(limit[2]) if limit[2] else None)
