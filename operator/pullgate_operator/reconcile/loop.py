"""Everything that is reconciled, on one store: watch, queue, work, come again in time."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from pullgate.licensing.marks import TEST_KEY_NAME
from pullgate.providers.domain_claim import claimed_domain
from pullgate.providers.handoff import LICENSE_LABEL, MANAGED_BY, SYSTEM_NAMESPACE, handoff_target
from pullgate.resources import InvalidResource, Registry, parse_resource
from pullgate.resources.fields import parse_time
from pullgate.store.port import Change, Document, Key, Store, StoreUnavailable, Synced
from pullgate_operator.plan.claims import Claims, Name, build_claim
from pullgate_operator.plan.invalid import plan_invalid
from pullgate_operator.plan.license import license_of_secret
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.clock import WatchedClock
from pullgate_operator.reconcile.image_test import ImageTestReconciler
from pullgate_operator.reconcile.license import LicenseReconciler
from pullgate_operator.reconcile.queue import WorkQueue
from pullgate_operator.reconcile.registry import RegistryReconciler
from pullgate_operator.reconcile.settings import Clock, ReconcileSettings, utc_now
from pullgate_operator.reconcile.signing import LICENSE_KEY, TOKEN_KEYS, SigningReconciler
from pullgate_operator.reconcile.tenants import Tenants
from pullgate_operator.reconcile.usage import UsageLedger, read_refused

KINDS = frozenset({"Registry", "License", "ImageTest", "Secret", "Namespace"})
PASS = ("Registry", "License", "ImageTest")
RETRY_SECONDS = 1.0

log = logging.getLogger(__name__)


class Reconciler:
    """Brings a store's resources up to date and keeps them so."""

    def __init__(
        self,
        store: Store,
        settings: ReconcileSettings,
        clock: Clock = utc_now,
        on_done: Callable[[str, str], None] = lambda _kind, _result: None,
        on_renewed: Callable[[str], None] = lambda _result: None,
        on_issued: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`on_done` receives the kind, and `ok` or `error`, after each reconciliation.

        `on_renewed` receives `ok`, or the reason, of each try to get a token. `on_issued`: see LicenseReconciler.
        """
        self._store, self._settings, self._on_done = store, settings, on_done
        clock = self._clock = WatchedClock(clock)
        self._queue = WorkQueue(clock, settings.longest_sleep)
        self._tenants = Tenants(settings)
        self._claims = Claims(self._tenants.may_claim)
        self._licenses: defaultdict[str, set[Key]] = defaultdict(set)
        self._signing = SigningReconciler(store, clock)
        self._registry = RegistryReconciler(
            store, self._claims, self._tenants, clock, settings, again=self._queue.add, on_renewed=on_renewed
        )
        self._ledger = UsageLedger(clock)
        self._license = LicenseReconciler(store, self._claims, self._signing, self._ledger, clock, settings, on_issued)
        self._image_test = ImageTestReconciler(store, self._tenants, clock, settings, again=self._queue.add)
        self._synced = False

    @property
    def settled(self) -> bool:
        """True if everything known was reconciled; checks of upstreams may still run."""
        return self._synced and self._queue.idle

    @property
    def waiting(self) -> int:
        """The number of keys that wait to be reconciled."""
        return len(self._queue)

    async def take_usage(self, body: bytes) -> tuple[str, int, bool]:
        """Take in what a proxy counted. Returns whose it is, its last number, and whether there is more.

        Raises InvalidUsage.
        """
        keys, instance, more = self._ledger.take(body)
        for registry, refreshed_at in read_refused(body):
            self._registry.renewals.refuse_of(registry, refreshed_at)
        for key in keys:
            document = await self._store.get(key)
            if document is None:
                self._ledger.forget(key)
                continue
            counted = ((document.get("status") or {}).get("usage") or {}).get("countedAt")
            now = self._clock()
            interval = self._settings.usage_interval
            due = min(max(now, parse_time(counted) + interval), now + interval) if counted else now
            if self._synced:
                self._queue.add_by(key, due)
        return instance, self._ledger.last_of(instance), more

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._queue.run_timers())
                group.create_task(self._follow_for_ever())
                group.create_task(self._watch_clock())
                for _ in range(self._settings.workers):
                    group.create_task(self._work())
        finally:
            await self._registry.stop()
            await self._image_test.stop()

    async def _watch_clock(self) -> None:
        """A wall clock that was set changes what is due; set back, it makes nothing due: look at all again."""
        while True:
            await asyncio.sleep(self._settings.longest_sleep)
            change = self._clock.take_change()
            if not change:
                continue
            log.warning("the clock was set by %.0f s: everything is looked at again", change)
            if self._synced:
                for key in (TOKEN_KEYS, *map(Key.of, await self._list_all())):
                    self._queue.add_to_pass(key)

    # --- changes ---

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
                log.warning("the watch ended; it is begun again")
            except StoreUnavailable as error:
                log.warning("%s; it is tried again", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        self._synced = False
        async for change in self._store.watch(KINDS):
            if isinstance(change, Synced):
                await self._begin()
            elif (domain := _domain_of(change.key)) is not None:
                # The store tells this process nothing of its own writes, so what it holds is newer than the news.
                self._note_record(domain, await self._store.get(change.key))
            else:
                self._note(change)

    async def _begin(self) -> None:
        """The first full list is in: everything is looked at once, and what was left behind is removed.

        Changes from the time without a leader go first.
        """
        documents = await self._list_all()
        present = {Key.of(document) for document in documents}
        known = {Key("Registry", *name) for name in self._claims.names()}
        known |= {Key("Registry", *name) for name in self._claims.recorded()}
        known |= {key for keys in self._licenses.values() for key in keys}
        gone = known - present  # deleted while the watch was down
        for key in gone:
            self._note(Change(key, None))
        self._synced = True
        for key in (TOKEN_KEYS, *sorted(gone)):
            self._queue.add(key)
        for document in documents:
            (self._queue.add_to_pass if _is_observed(document) else self._queue.add)(Key.of(document))
        for document in await self._store.list("Secret"):
            owner = _owner(document)
            if owner is not None and owner not in present:
                self._queue.add(owner)
            key = Key.of(document)
            if key.name == TEST_KEY_NAME and not self._licenses.get(key.namespace):
                self._queue.add(key)

    async def _list_all(self) -> list[Document]:
        """Everything, in the order of a pass: Licenses name Registries, and ImageTests name both."""
        return [document for kind in PASS for document in await self._store.list(kind)]

    def _note(self, change: Change) -> None:
        key = change.key
        if key.kind == "Registry":
            self._note_registry(change)
        elif key.kind == "License":
            keys = self._licenses[key.namespace]
            had_any = bool(keys)
            keys.discard(key) if change.document is None else keys.add(key)
            self._add(key)
            if bool(keys) is not had_any:
                self._add(Key("Secret", key.namespace, TEST_KEY_NAME))
        elif key.kind == "ImageTest":
            self._add(key)
        elif key.kind == "Namespace":
            self._note_namespace(change)
        else:
            self._note_secret(key)

    def _note_registry(self, change: Change) -> None:
        key, name = change.key, (change.key.namespace, change.key.name)
        before = self._facts_of_app(key.namespace)
        if change.document is None:
            affected = self._claims.remove(name)
        else:
            try:
                resource = parse_resource(change.document)
            except InvalidResource:  # its status says so; what it claimed before stands
                uid = str(change.document["metadata"].get("uid", ""))
                affected = self._claims.put_unreadable(name, uid)
            else:
                affected = self._claims.put(build_claim(resource)) if isinstance(resource, Registry) else set()
        self._add(key)
        self._look_again(key.namespace, before, affected)

    def _note_record(self, domain: str, document: Document | None) -> None:
        self._look_again("", None, self._registry.domains.take(domain, document))

    def _note_namespace(self, change: Change) -> None:
        namespace = change.key.name
        before, rivals = self._facts_of_app(namespace), self._claims.rivals_of(namespace)
        if self._tenants.take(namespace, change.document):
            self._look_again(namespace, before, rivals)

    def _look_again(self, namespace: str, before: object, affected: set[Name]) -> None:
        """Queue the Registries of `affected`, and the Licenses of their apps; of `namespace` if its facts changed."""
        if not self._synced:
            return
        for name in affected:
            self._add(Key("Registry", *name))
        # Pull Secrets are for the domains that the app holds; another app may have given one up.
        apps = {namespace, *(app for app, _ in affected)}
        if self._facts_of_app(namespace) == before:
            apps.discard(namespace)
        for app in apps:
            for license_key in self._licenses.get(app, ()):
                self._queue.add_to_pass(license_key)

    def _facts_of_app(self, app: str) -> object:
        """The facts that the Licenses of an app depend on; None before the first full list."""
        return (self._claims.domains_of(app), self._claims.names_in(app)) if self._synced else None

    def _note_secret(self, key: Key) -> None:
        if key == LICENSE_KEY and self._synced:
            for keys in self._licenses.values():
                for license_key in keys:
                    self._queue.add_to_pass(license_key)
        if key.namespace == SYSTEM_NAMESPACE:
            target = handoff_target(key.name)
            if target is not None:
                self._add(Key("Registry", *target))
            elif key == TOKEN_KEYS:
                self._add(key)
        for name in self._claims.referring_to((key.namespace, key.name)):
            self._add(Key("Registry", *name))
        if key.name == TEST_KEY_NAME and key.namespace in self._licenses:
            self._add(key)
        owner = license_of_secret(key.name)
        if owner is not None and Key("License", key.namespace, owner) in self._licenses.get(key.namespace, ()):
            self._add(Key("License", key.namespace, owner))

    def _add(self, key: Key) -> None:
        if self._synced:  # before, everything is still to be looked at anyway
            self._queue.add(key)

    # --- work ---

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            await asyncio.sleep(0)  # what needs no write never waits: thousands of them must not hold up the Lease
            try:
                due = await self._reconcile(key)
            except StoreUnavailable as error:
                self._tell(key, error)
            except Exception as error:
                log.debug("reconciling %s", key, exc_info=True)
                self._tell(key, error)
            else:
                self._queue.add_at(key, due)
                self._queue.done(key)
                self._image_test.wake(key)
                self._on_done(key.kind, "ok")

    def _tell(self, key: Key, error: Exception) -> None:
        wait = self._queue.failed(key)
        self._on_done(key.kind, "error")
        words = str(error) or type(error).__name__
        log.warning("%s %s/%s: %s; tried again in %g s", key.kind, key.namespace, key.name, words, wait)

    async def _reconcile(self, key: Key) -> datetime | None:
        try:
            return await self._dispatch(key)
        except InvalidResource as error:
            document = await self._store.get(key)
            if document is not None:
                await apply_plan(self._store, key, document, plan_invalid(document, error, self._clock()))
            return None  # until it is another document

    async def _dispatch(self, key: Key) -> datetime | None:
        if key.kind == "Registry":
            return await self._registry.reconcile(key)
        if key.kind == "License":
            return await self._license.reconcile(key)
        if key.kind == "ImageTest":
            return await self._image_test.reconcile(key)
        if key.name == TEST_KEY_NAME:
            owner = min(self._licenses.get(key.namespace) or (), default=None)
            await self._signing.reconcile_mark_key(key.namespace, owner)
            return None
        await self._signing.fetch_license_key()
        due = await self._signing.reconcile_token_keys()
        for namespace, licenses in self._licenses.items():
            if licenses:
                self._queue.add(Key("Secret", namespace, TEST_KEY_NAME))
        return due


def _domain_of(key: Key) -> str | None:
    """The custom domain whose record this is."""
    return claimed_domain(key.name) if (key.kind, key.namespace) == ("Secret", SYSTEM_NAMESPACE) else None


def _is_observed(document: Document) -> bool:
    """True if its status is about its present generation."""
    observed = (document.get("status") or {}).get("observedGeneration")
    return bool(observed == document["metadata"].get("generation"))


def _owner(document: Document) -> Key | None:
    """The resource that one of our Secrets is for."""
    metadata = document["metadata"]
    labels = metadata.get("labels") or {}
    if any(labels.get(name) != value for name, value in MANAGED_BY.items()):
        return None
    if LICENSE_LABEL in labels:
        return Key("License", metadata["namespace"], labels[LICENSE_LABEL])
    target = handoff_target(metadata["name"]) if metadata["namespace"] == SYSTEM_NAMESPACE else None
    return Key("Registry", *target) if target is not None else None
