"""Is a Registry there, and does it take the credentials? What the operator asks for a Registry's conditions."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from pullgate import faults
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig

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
    """None: it is reachable and lets these credentials (or everybody) in."""
    quota: Quota | None = None

    @property
    def reachable(self) -> bool:
        """Whether the registry answered at all, if only to refuse."""
        return self.fault is None or isinstance(self.fault, _ANSWERED)

    @property
    def authenticated(self) -> bool:
        """Whether it let the credentials in."""
        return self.fault is None


_ANSWERED = (faults.UpstreamUnauthorized, faults.UpstreamForbidden, faults.UpstreamRateLimited, faults.RealmRefused)


async def check_login(config: UpstreamConfig) -> LoginResult:
    """`GET /v2/` with the credentials. Raises nothing of an upstream: its fault is in the result."""
    began = time.monotonic()
    async with Upstream(config) as upstream:
        try:
            response = await upstream.ping()
        except faults.Fault as fault:
            return LoginResult(time.monotonic() - began, fault)
        response.release()
        return LoginResult(time.monotonic() - began, None, _quota_of(response.headers))


def _quota_of(headers: CIMultiDictProxy[str]) -> Quota | None:
    limit = _LIMIT.match(headers.get("ratelimit-limit", ""))
    if limit is None:
        return None
    remaining = _LIMIT.match(headers.get("ratelimit-remaining", ""))
    return Quota(int(limit[1]), int(remaining[1]) if remaining else None, float(limit[2]) if limit[2] else None)
