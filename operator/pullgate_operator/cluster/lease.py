"""Leadership by a Lease (coordination.k8s.io): one operator works, the others wait."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from pullgate.store.cluster.api import Api, Conflict
from pullgate.store.port import StoreUnavailable

LEASE_SECONDS: Final = 15
"""A leader that is silent for so long is replaced."""
RENEW_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 5.0
"""How long one try may take: an API server under load is slow, and that alone costs no lead."""
RETRY_SECONDS: Final = 1.0
GIVE_UP_SECONDS: Final = 10.0
"""A leader that could not renew for so long stops, well before another one begins."""

log = logging.getLogger(__name__)


class LeadershipLost(Exception):
    """The Lease could not be renewed in time, or somebody else holds it."""


class Leadership:
    """The Lease `name` of `namespace`, held by `identity`."""

    def __init__(self, api: Api, namespace: str, name: str, identity: str) -> None:
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._seen: tuple[str, float] = ("", 0.0)
        """The last renewal that was seen, and when: clocks of other nodes are not trusted."""
        self._renewed = 0.0
        self.holds = False

    async def acquire(self) -> None:
        """Return once this process leads."""
        self._renewed = await self._renew(RETRY_SECONDS * 2)
        self.holds = True
        log.warning("%s leads", self._identity)

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeadershipLost."""
        try:
            while True:
                async with asyncio.timeout(self._renewed + GIVE_UP_SECONDS - time.monotonic()):
                    await asyncio.sleep(RENEW_SECONDS)
                    self._renewed = await self._renew(RETRY_SECONDS)
        except TimeoutError:
            self.holds = False
            raise LeadershipLost(f"{self._identity} could not renew its Lease in time; another one may lead") from None

    async def release(self) -> None:
        """Let the next one begin at once; nothing is done where it was lost."""
        if not self.holds:
            return
        self.holds = False
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                lease = await self._api.get(self._path)
                if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                    await self._api.replace(self._path, {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("the Lease was not given back: %s", str(error) or "no answer")

    async def _renew(self, pause: float) -> float:
        """Try until it holds, every `pause` seconds; returns when the try that did it began, which none sees later."""
        while True:
            began = time.monotonic()
            if await self._try():
                return began
            await asyncio.sleep(pause)

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._take()
        except (StoreUnavailable, TimeoutError) as error:
            if not isinstance(error, Conflict):
                log.warning("the Lease cannot be asked: %s", str(error) or "no answer")
            return False

    async def _take(self) -> bool:
        lease = await self._api.get(self._path)
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            document = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            await self._api.create(self._collection, {**document, "spec": self._spec({})})
            return True
        spec = lease["spec"]
        holder, renewed = spec.get("holderIdentity") or "", str(spec.get("renewTime"))
        if holder not in {"", self._identity} and not self._is_over(holder, renewed, spec):
            return False
        await self._api.replace(self._path, {**lease, "spec": self._spec(spec)})
        return True

    def _is_over(self, holder: str, renewed: str, spec: dict[str, Any]) -> bool:
        mark = f"{holder} {renewed}"
        if self._seen[0] != mark:
            self._seen = (mark, time.monotonic())
        return time.monotonic() - self._seen[1] > float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        """The spec that follows `before`, which is empty for a new Lease."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        keeps = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": before.get("acquireTime", now) if keeps else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + bool(before and not keeps),
        }
