"""A Registry: its credentials handed to the proxy, its upstream asked, its conditions told."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from pullgate import faults
from pullgate.providers.credentials import Credentials
from pullgate.providers.handoff import SYSTEM_NAMESPACE, decode_handoff, handoff_name
from pullgate.providers.types import PROVIDERS
from pullgate.resources import InvalidResource, Registry
from pullgate.resources.model import SecretRef
from pullgate.resources.registry import RegistrySpec
from pullgate.shares import namespace_holder
from pullgate.slots import FairSlots, LineFull
from pullgate.store.port import Document, Key, Store
from pullgate.upstream.compile import upstream_config
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.exchange_http import ExchangeHttp
from pullgate.upstream.login import LoginResult, check_login
from pullgate.upstream.probe import check_image
from pullgate.upstream.refusals import Refusals
from pullgate.upstream.trial import places_of
from pullgate_operator.plan.check import Checked
from pullgate_operator.plan.claims import Claims
from pullgate_operator.plan.credentials import Resolved
from pullgate_operator.plan.domains import find_refusal
from pullgate_operator.plan.registry import RegistryInputs, find_credentials, handoff_of, plan_registry
from pullgate_operator.plan.renewal import Renewal
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.domains import DomainRecords
from pullgate_operator.reconcile.parsing import read_resource
from pullgate_operator.reconcile.renewals import Renewals
from pullgate_operator.reconcile.settings import Clock, ReconcileSettings
from pullgate_operator.reconcile.tenants import Tenants

ASK_END_EVERY = timedelta(hours=1)

LATE_SECONDS = 30.0
"""After which a check is begun again for which there was no room in the line."""

_Asked = tuple[LoginResult, faults.Fault | None, datetime | None]
"""How the login went, what is wrong with spec.check.image, and when the credentials end."""

log = logging.getLogger(__name__)


class RegistryReconciler:
    """Gather, plan, apply. Checks are separate tasks, a bounded number at once."""

    def __init__(
        self,
        store: Store,
        claims: Claims,
        tenants: Tenants,
        clock: Clock,
        settings: ReconcileSettings,
        *,
        again: Callable[[Key], None],
        on_renewed: Callable[[str], None],
    ) -> None:
        self._store, self._claims, self._clock, self._again = store, claims, clock, again
        self._tenants, self._settings = tenants, settings
        self.domains = DomainRecords(store, claims, clock)
        self._slots = FairSlots("checks", settings.checks)
        self.renewals = Renewals(clock, store.request_token, again=again, on_done=on_renewed)
        self._refusals = Refusals(time.monotonic)
        self._checked: dict[Key, Checked] = {}
        self._ends: dict[Key, tuple[Credentials, datetime, datetime | None]] = {}
        """Static credentials, when the provider was asked for their end, and its answer."""
        self._running: dict[Key, tuple[tuple[UpstreamConfig, str | None], asyncio.Task[None]]] = {}

    async def reconcile(self, key: Key) -> datetime | None:
        """Bring one Registry up to date; returns when to come again. Raises InvalidResource, StoreUnavailable."""
        await self.domains.settle((key.namespace, key.name))
        document = await self._store.get(key)
        if document is None:
            await self._forget(key)
            return None
        try:
            resource = await read_resource(document)
        except InvalidResource:
            await self._withdraw_from_another(key, str(document["metadata"].get("uid", "")))
            raise
        if not isinstance(resource, Registry) or (key.namespace, key.name) not in self._claims:
            return None
        planned = plan_registry(await self._gather(key, resource))
        await apply_plan(self._store, key, document, planned.plan)
        if planned.check is not None:
            self._start_check(key, planned.check, planned.source, resource.spec)
        return planned.plan.due

    async def stop(self) -> None:
        """End the checks that run."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.renewals.stop()

    async def _gather(self, key: Key, resource: Registry) -> RegistryInputs:
        name = (key.namespace, key.name)
        spec, policy = resource.spec, self._tenants.of(key.namespace)
        inputs = RegistryInputs(
            resource=resource,
            secret=await self._secret(key.namespace, spec.credentials.secret_ref),
            ca_secret=await self._secret(key.namespace, spec.tls.ca_secret_ref),
            older_by_host=self._claims.older_by_host(name),
            refusal=find_refusal(self._claims, name, policy, self._settings.external_name),
            checked=self._checked.get(key),
            policy=policy,
            least_interval=self._settings.least_interval,
            held=self._claims.held_by(name),
            now=self._clock(),
        )
        return dataclasses.replace(inputs, renewal=await self._renewal(key, inputs))

    async def _renewal(self, key: Key, inputs: RegistryInputs) -> Renewal | None:
        """The token's renewal, if the credentials are an exchange; starts one if it is due."""
        found = find_credentials(inputs)
        if not isinstance(found, Resolved) or found.credentials is None or isinstance(found.credentials, Credentials):
            self.renewals.forget(key)
            return None
        document = await self._store.get(Key("Secret", *handoff_of(inputs.resource)))
        try:
            handed = decode_handoff(document) if document is not None else None
        except ValueError:
            handed = None
        config = upstream_config(inputs.resource, inputs.policy.networks, ca_pem=found.ca_pem)
        return self.renewals.get(key, found.credentials, config, handed)

    async def _secret(self, namespace: str, ref: SecretRef | None) -> Document | None:
        return await self._store.get(Key("Secret", namespace, ref.name)) if ref is not None else None

    async def _forget(self, key: Key) -> None:
        self._checked.pop(key, None)
        self._ends.pop(key, None)
        self.renewals.forget(key)
        running = self._running.pop(key, None)
        if running is not None:
            running[1].cancel()
        name = handoff_name(key.namespace, key.name)
        if await self._store.get(Key("Secret", SYSTEM_NAMESPACE, name)) is not None:
            await self._store.delete_secret(SYSTEM_NAMESPACE, name)

    async def _withdraw_from_another(self, key: Key, uid: str) -> None:
        """Delete what was handed over for a Registry of the same name that is not the one with `uid`.

        A document that was valid before goes on for the same Registry alone: another one may be another tenant's.
        """
        name = handoff_name(key.namespace, key.name)
        document = await self._store.get(Key("Secret", SYSTEM_NAMESPACE, name))
        try:
            if document is None or decode_handoff(document).uid == uid:
                return
        except ValueError:
            pass
        await self._store.delete_secret(SYSTEM_NAMESPACE, name)

    # --- checks ---

    def _start_check(self, key: Key, config: UpstreamConfig, source: str, spec: RegistrySpec) -> None:
        image = spec.check.image
        running = self._running.get(key)
        if running is not None:
            if running[0] == (config, image):
                return
            running[1].cancel()
        task = asyncio.create_task(self._check(key, config, source, spec), name=f"check {key.name}")
        self._running[key] = ((config, image), task)

    async def _check(self, key: Key, config: UpstreamConfig, source: str, spec: RegistrySpec) -> None:
        image = spec.check.image
        asked: _Asked | None = None
        late = False
        try:
            async with self._slots.hold(namespace_holder(key.namespace)):
                asked = await self._ask(key, config, source, spec)
        except LineFull:
            late = True
        except Exception:
            log.exception("checking Registry %s/%s failed", key.namespace, key.name)
        if self._running.get(key, (None, None))[1] is not asyncio.current_task():
            return  # forgotten, or replaced by one with other settings
        del self._running[key]
        if late:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._again, key)
        if asked is None:
            return
        result, image_fault, end = asked
        before = self._checked.get(key)
        failures = before.failures if before is not None and before.is_of(config, spec, source) else 0
        checked = Checked(
            config, self._clock(), result, failures + 1, image, image_fault, source, end, spec.repositories
        )
        self._checked[key] = checked if checked.fault is not None else dataclasses.replace(checked, failures=0)
        if isinstance(checked.fault, faults.UpstreamUnauthorized) and source and config.credentials is not None:
            self.renewals.refuse(key, config.credentials.password)
        self._again(key)

    async def _ask(self, key: Key, config: UpstreamConfig, source: str, spec: RegistrySpec) -> _Asked:
        """Within `check_seconds`: an upstream that drips must not keep its slot."""
        image, began = spec.check.image, time.monotonic()
        image_fault: faults.Fault | None = None
        end: datetime | None = None
        seconds = self._settings.check_seconds
        try:
            async with asyncio.timeout(seconds):
                places = places_of(spec.host, image, spec.repositories)
                result = await check_login(config, PROVIDERS[spec.type].quota, places, self._refusals)
                if image is not None and result.fault is None:
                    image_fault = await check_image(config, image)
                if result.fault is None:
                    end = await self._ask_end(key, config, source, spec)
        except TimeoutError:
            result = LoginResult(time.monotonic() - began, faults.UpstreamTimeout(config.host, seconds))
        return result, image_fault, end

    async def _ask_end(self, key: Key, config: UpstreamConfig, source: str, spec: RegistrySpec) -> datetime | None:
        """When static credentials end, as the provider tells it; asked once an hour."""
        ask, credentials, now = PROVIDERS[spec.type].ask_end, config.credentials, self._clock()
        if ask is None or credentials is None or source:
            return None
        known = self._ends.get(key)
        if known is None or known[0] != credentials or not timedelta() <= now - known[1] < ASK_END_EVERY:
            known = self._ends[key] = (credentials, now, await ask(credentials, ExchangeHttp(config), spec.host))
        return known[2]
