"""A Registry: its credentials handed to the proxy, its upstream asked, its conditions told."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from datetime import datetime

from pullgate import faults
from pullgate.providers.handoff import SYSTEM_NAMESPACE, handoff_name
from pullgate.resources import Registry, parse_resource
from pullgate.resources.model import SecretRef
from pullgate.store.port import Document, Key, Store
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import LoginResult, check_login
from pullgate.upstream.probe import check_image
from pullgate_operator.plan.check import Checked
from pullgate_operator.plan.claims import Claims
from pullgate_operator.plan.registry import RegistryInputs, plan_registry
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.settings import Clock

log = logging.getLogger(__name__)


class RegistryReconciler:
    """Gather, decide, apply. Checks run beside it, a bounded number at once."""

    def __init__(
        self, store: Store, claims: Claims, clock: Clock, *, again: Callable[[Key], None], checks: int
    ) -> None:
        self._store, self._claims, self._clock, self._again = store, claims, clock, again
        self._slots = asyncio.Semaphore(checks)
        self._checked: dict[Key, Checked] = {}
        self._running: dict[Key, tuple[tuple[UpstreamConfig, str | None], asyncio.Task[None]]] = {}

    async def reconcile(self, key: Key) -> datetime | None:
        """Bring one Registry up to date; returns when to come again. Raises InvalidResource, StoreUnavailable."""
        document = await self._store.get(key)
        if document is None:
            await self._forget(key)
            return None
        resource = parse_resource(document)
        if not isinstance(resource, Registry) or (key.namespace, key.name) not in self._claims:
            return None
        planned = plan_registry(await self._gather(key, resource))
        await apply_plan(self._store, key, document, planned.plan)
        if planned.check is not None:
            self._start_check(key, planned.check, resource.spec.check.image)
            return None  # its end asks for this again
        return planned.plan.due

    async def stop(self) -> None:
        """End the checks that run."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _gather(self, key: Key, resource: Registry) -> RegistryInputs:
        name = (key.namespace, key.name)
        spec = resource.spec
        return RegistryInputs(
            resource=resource,
            secret=await self._secret(key.namespace, spec.credentials.secret_ref),
            ca_secret=await self._secret(key.namespace, spec.tls.ca_secret_ref),
            older_by_host=self._claims.older_by_host(name),
            older_by_domain=self._claims.older_by_domain(name),
            checked=self._checked.get(key),
            now=self._clock(),
        )

    async def _secret(self, namespace: str, ref: SecretRef | None) -> Document | None:
        return await self._store.get(Key("Secret", namespace, ref.name)) if ref is not None else None

    async def _forget(self, key: Key) -> None:
        self._checked.pop(key, None)
        running = self._running.pop(key, None)
        if running is not None:
            running[1].cancel()
        name = handoff_name(key.namespace, key.name)
        if await self._store.get(Key("Secret", SYSTEM_NAMESPACE, name)) is not None:
            await self._store.delete_secret(SYSTEM_NAMESPACE, name)

    # --- checks ---

    def _start_check(self, key: Key, config: UpstreamConfig, image: str | None) -> None:
        running = self._running.get(key)
        if running is not None:
            if running[0] == (config, image):
                return
            running[1].cancel()
        task = asyncio.create_task(self._check(key, config, image), name=f"check {key.name}")
        self._running[key] = ((config, image), task)

    async def _check(self, key: Key, config: UpstreamConfig, image: str | None) -> None:
        async with self._slots:
            result: LoginResult | None = None
            image_fault: faults.Fault | None = None
            try:
                result = await check_login(config)
                if image is not None and result.fault is None:
                    image_fault = await check_image(config, image)
            except Exception:
                log.exception("checking Registry %s/%s failed", key.namespace, key.name)
        if self._running.get(key, (None, None))[1] is not asyncio.current_task():
            return  # forgotten, or replaced by one with other settings
        del self._running[key]
        if result is None:
            return
        before = self._checked.get(key)
        failures = before.failures if before is not None and (before.config, before.image) == (config, image) else 0
        checked = Checked(config, self._clock(), result, failures + 1, image, image_fault)
        self._checked[key] = checked if checked.fault is not None else dataclasses.replace(checked, failures=0)
        self._again(key)
