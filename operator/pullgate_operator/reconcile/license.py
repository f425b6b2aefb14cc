"""A License: its key issued and replaced, its Secrets kept, its conditions told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pullgate.licensing.keys import new_key
from pullgate.resources import License
from pullgate.resources.fields import format_time
from pullgate.store.port import Document, Key, Store
from pullgate_operator.plan.claims import Claims
from pullgate_operator.plan.keys import ISSUE_LIMIT, ISSUED
from pullgate_operator.plan.license import LicenseInputs, is_ours, plan_license, secret_names
from pullgate_operator.plan.outcome import Plan
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.parsing import read_resource
from pullgate_operator.reconcile.settings import Clock, ReconcileSettings
from pullgate_operator.reconcile.signing import SigningReconciler
from pullgate_operator.reconcile.usage import UsageLedger

LOOK_AGAIN = timedelta(minutes=1)
"""Interval to look again at a License that the server has and the watch missed."""


def _issues(plan: Plan) -> bool:
    return any(event.reason in ISSUED for event in plan.events)


class LicenseReconciler:
    """Gather, plan, apply."""

    def __init__(
        self,
        store: Store,
        claims: Claims,
        signing: SigningReconciler,
        ledger: UsageLedger,
        clock: Clock,
        settings: ReconcileSettings,
        on_issued: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`on_issued` receives the reason of each Event that speaks of keys: `metrics.KEY_EVENTS`."""
        self._store, self._claims, self._signing, self._clock = store, claims, signing, clock
        self._ledger, self._settings = ledger, settings
        self._gone: dict[Key, datetime] = {}
        """Since when Licenses are gone whose keys are still there."""
        self._on_issued = on_issued
        self._issued: dict[Key, tuple[datetime, ...]] = {}
        """The last times at which keys were issued, also where that could not be written down."""

    async def reconcile(self, key: Key) -> datetime | None:
        """Bring one License up to date; returns when to come again.

        Raises InvalidResource, StoreUnavailable, and ValueError where the signing key cannot be used.
        """
        document = await self._store.get(key)
        if document is None:
            return await self._forget(key)
        self._gone.pop(key, None)
        resource = await read_resource(document)
        if not isinstance(resource, License):
            return None
        license_secret, pull_secret = await self._secrets(key)
        inputs = LicenseInputs(
            resource=resource,
            license_secret=license_secret,
            pull_secret=pull_secret,
            signing_key=await self._signing.fetch_license_key(),
            hosts=(self._settings.external_host, *self._claims.domains_of(key.namespace)),
            registries=self._claims.names_in(key.namespace),
            now=self._clock(),
            usage=self._ledger.of(key),
            usage_interval=self._settings.usage_interval,
            issued=self._issued.get(key, ()),
        )
        plan = plan_license(inputs, new_key)
        if _issues(plan):
            # Before a key counts as lost, the store itself is asked: what is in memory came by a watch.
            secret = await self._store.fetch(Key("Secret", key.namespace, secret_names(key.name)[0]))
            if secret is not None and secret != license_secret:
                plan = plan_license(replace(inputs, license_secret=secret), new_key)
        if _issues(plan):
            self._issued[key] = (*inputs.issued, inputs.now)[-ISSUE_LIMIT:]
        await apply_plan(self._store, key, document, plan)
        for event in plan.events:
            if event.reason.startswith("Key"):
                self._on_issued(event.reason)
        return plan.due

    async def _secrets(self, key: Key) -> tuple[Document | None, Document | None]:
        license_name, pull_name = secret_names(key.name)
        return (
            await self._store.get(Key("Secret", key.namespace, license_name)),
            await self._store.get(Key("Secret", key.namespace, pull_name)),
        )

    async def _forget(self, key: Key) -> datetime | None:
        """Delete the Secrets of a License that is gone, after the grace time; returns when to come again.

        In a cluster, the garbage collector at once deletes the Secrets of a License that was deleted on purpose. Any
        left over has an owner that this store does not see, which may be the store's mistake.
        """
        self._ledger.forget(key)
        ours = [secret for secret in await self._secrets(key) if secret is not None and is_ours(secret)]
        if not ours:
            self._gone.pop(key, None)
            self._issued.pop(key, None)
            await self._store.forget(key)
            return None
        end = (await self._store.gone_since(key) or self._gone.get(key) or self._clock()) + self._settings.key_grace
        if key not in self._gone:
            self._gone[key] = end - self._settings.key_grace
            words = f"the License is gone: it pulls nothing, and its key is kept until {format_time(end)}"
            await self._store.record_event(key, "Warning", "KeyKept", f"{words}; put it back to have that key again")
        if self._clock() < end or await self._store.fetch(key) is not None:
            return max(end, self._clock() + LOOK_AGAIN)
        await self._store.forget(key)
        for secret in ours:
            await self._store.delete_secret(key.namespace, secret["metadata"]["name"])
        del self._gone[key]
        self._issued.pop(key, None)
        return None
