"""An ImageTest: its images probed when it is due, its conditions told."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from pullgate.oci.rendered import InvalidInput, parse_image_path, read_images
from pullgate.resources import ImageTest
from pullgate.resources.image_test import IMAGE_LIMIT
from pullgate.shares import namespace_holder
from pullgate.slots import FairSlots, LineFull
from pullgate.store.port import Key, Store, StoreUnavailable
from pullgate.tls_context import InvalidCA, read_ca_file
from pullgate.turns import DOCUMENT_INLINE, aside
from pullgate.upstream.probe import ImageResult, ProbeOptions, ProbeTarget, probe_all
from pullgate_operator.plan.image_test import FIRST_RETRY, RETRY, Finished, Problem, plan_image_test
from pullgate_operator.plan.license import secret_names
from pullgate_operator.plan.targets import Customer, Sources
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.parsing import read_resource
from pullgate_operator.reconcile.settings import Clock, ReconcileSettings
from pullgate_operator.reconcile.signing import build_marker
from pullgate_operator.reconcile.sources import build_customer, gather_sources
from pullgate_operator.reconcile.tenants import Tenants

IMAGE_LENGTH = 8 * 1024
"""Bytes that an image counts for, as it is compared with many patterns: more than 8 go to a thread."""
LACKS = frozenset({"RegistryUnknown", "RegistryNotReady", "CredentialsMissing"})
"""Reasons of images that no upstream could be asked for."""
BEHIND = frozenset({"PathInvalid", "KeyUnknown", "CredentialsMissing"})
"""Reasons that a proxy gives while it has not seen a new Registry or License yet."""
BEHIND_SECONDS = 3.0

LATE_SECONDS = 30.0
"""Seconds after which a run that found no room in the queue is begun again."""

log = logging.getLogger(__name__)


class CannotRun(Exception):
    """A run lacks something that it needs; it is retried later."""

    def __init__(self, reason: str, message: str, *, may_come: bool = False, awaited: Key | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message, may_come, awaited)


class ImageTestReconciler:
    """Gather, plan, apply. Runs are separate tasks: one for each test, a bounded number at once."""

    def __init__(
        self, store: Store, tenants: Tenants, clock: Clock, settings: ReconcileSettings, *, again: Callable[[Key], None]
    ) -> None:
        self._store, self._clock, self._settings, self._again = store, clock, settings, again
        self._tenants = tenants
        self._slots = FairSlots("runs", settings.runs)
        self._running: dict[Key, tuple[int, asyncio.Task[None]]] = {}
        """Generation and task of each run."""
        self._finished: dict[Key, Finished] = {}
        self._waiting: dict[Key, Key | None] = {}
        """Tests that lack something, and the License that it is; None: any Registry of the app may be it."""

    async def reconcile(self, key: Key) -> datetime | None:
        """Bring one ImageTest up to date; returns when to come again. Raises InvalidResource, StoreUnavailable."""
        document = await self._store.get(key)
        if document is None:
            self._end(key)
            self._finished.pop(key, None)
            self._waiting.pop(key, None)
            return None
        resource = await read_resource(document)
        if not isinstance(resource, ImageTest):
            return None
        running = self._running.get(key)
        if running is not None and running[0] != resource.metadata.generation:
            self._end(key)
            running = None
        planned = plan_image_test(
            resource,
            self._finished.get(key),
            running=running is not None,
            now=self._clock(),
            came=await self._came(key, resource),
            wait=self._settings.image_test_wait,
        )
        await apply_plan(self._store, key, document, planned.plan)
        if planned.run:
            task = asyncio.create_task(self._run(key, resource, planned.patient), name=f"test {key.name}")
            self._running[key] = (resource.metadata.generation, task)
        return planned.plan.due

    def wake(self, key: Key) -> None:
        """`key` was brought up to date: look again at the tests that wait for it, if it is a Registry or License."""
        for test, awaited in self._waiting.items():
            if test.namespace != key.namespace or key != (awaited or key._replace(kind="Registry")):
                continue
            finished = self._finished.get(test)
            if finished is not None and finished.problem is not None:
                self._finished[test] = dataclasses.replace(finished, retry_at=self._clock())
            self._again(test)

    async def _came(self, key: Key, resource: ImageTest) -> bool:
        """True if a Registry that the last run lacked is there now; notes what the test waits for."""
        finished, generation = self._finished.get(key), resource.metadata.generation
        if finished is not None and finished.generation != generation:
            finished = None
        self._waiting.pop(key, None)
        if finished is not None and finished.problem is not None:
            if finished.problem.may_come:
                self._waiting[key] = finished.problem.awaited
            return False
        lacking = (
            _lacking_of(resource) if finished is None else [r.image for r in finished.results if r.reason in LACKS]
        )
        if not lacking:
            return False
        self._waiting[key] = None
        try:
            sources = await self._sources(resource)
        except CannotRun:
            return False
        marks = finished.marks if finished is not None else {}
        return await aside(
            len(lacking) * IMAGE_LENGTH,
            lambda: any(sources.lack(image) is None and sources.mark(image) != marks.get(image) for image in lacking),
        )

    async def stop(self) -> None:
        """End the runs; the next operator repeats each."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: Key) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running[1].cancel()

    # --- one run ---

    async def _run(self, key: Key, resource: ImageTest, patient: bool) -> None:
        finished: Finished | None = None
        try:
            async with self._slots.hold(namespace_holder(key.namespace)):
                finished = await self._probe(resource, patient)
        except LineFull:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._again, key)
        if self._running.get(key, (0, None))[1] is not asyncio.current_task():
            return  # it is gone, or another generation
        del self._running[key]
        if finished is not None:
            self._finished[key] = finished
            self._again(key)

    async def _probe(self, resource: ImageTest, patient: bool) -> Finished:
        started, began = self._clock(), time.monotonic()
        results: tuple[ImageResult, ...] = ()
        marks: dict[str, str] = {}
        problem = None
        try:
            images, sources = await self._gather_images(resource), await self._sources(resource)
            # Each image is compared with the patterns of each Registry of its host.
            marks = await aside(len(images) * IMAGE_LENGTH, lambda: {image: sources.mark(image) for image in images})
            results = await self._ask(resource, images, sources, patient)
        except CannotRun as error:
            problem = error.problem
        except StoreUnavailable as error:
            problem = Problem("StoreUnavailable", f"{error}; it is tried again", may_come=True)
        except Exception:
            log.exception("testing ImageTest %s/%s failed", resource.metadata.namespace, resource.metadata.name)
            problem = Problem("Internal", "the test itself failed; see the operator's log")
        return Finished(
            started,
            time.monotonic() - began,
            resource.metadata.generation,
            results,
            problem,
            retry_at=self._clock() + (FIRST_RETRY if patient else RETRY) if problem is not None else None,
            marks=marks,
            patient=patient and problem is not None and problem.may_come,
        )

    async def _sources(self, resource: ImageTest) -> Sources:
        namespace = resource.metadata.namespace
        return Sources(
            namespace,
            await gather_sources(self._store, namespace, self._tenants.of(namespace).networks),
            await self._customer(resource),
        )

    async def _ask(
        self, resource: ImageTest, images: list[str], sources: Sources, patient: bool
    ) -> tuple[ImageResult, ...]:
        spec = resource.spec
        size = len(images) * IMAGE_LENGTH
        lack = await aside(size, lambda: next(filter(None, map(sources.lack, images)), None)) if patient else None
        if lack is not None:
            raise CannotRun(lack.reason, lack.message, may_come=True)
        asked = await aside(size, lambda: [sources.target(image) for image in images])
        targets = [each for each in asked if isinstance(each, ProbeTarget)]
        options = ProbeOptions(
            depth=spec.depth, platforms=spec.platforms, timeout=spec.timeout.total_seconds(), retries=spec.retries
        )
        found = await probe_all(targets, options)
        behind = [number for number, result in enumerate(found) if result.reason in BEHIND]
        if behind and patient and spec.as_ is not None:
            await asyncio.sleep(BEHIND_SECONDS)
            again = await probe_all([targets[number] for number in behind], options)
            found = [dict(zip(behind, again, strict=True)).get(number, result) for number, result in enumerate(found)]
        results = iter(found)
        return tuple(next(results) if isinstance(each, ProbeTarget) else each for each in asked)

    async def _gather_images(self, resource: ImageTest) -> list[str]:
        images = list(resource.spec.images)
        if resource.spec.images_from is not None:
            ref, paths = resource.spec.images_from.config_map_key_ref, resource.spec.images_from.image_paths
            key = Key("ConfigMap", resource.metadata.namespace, ref.name)
            document = await self._store.fetch(key)
            text = ((document or {}).get("data") or {}).get(ref.key)
            if document is None or not isinstance(text, str):
                what = f"ConfigMap {ref.name}" if document is None else f"key {ref.key} in ConfigMap {ref.name}"
                raise CannotRun("ConfigMapMissing", f"there is no {what}; it is looked for again", may_come=True)
            try:
                read = partial(read_images, text, [parse_image_path(path) for path in paths])
                found = await aside(len(text), read, inline=DOCUMENT_INLINE)
            except InvalidInput as error:
                raise CannotRun("InputInvalid", f"ConfigMap {ref.name}, {ref.key}: {error}") from error
            images += [rendered.image for rendered in found]
        images = list(dict.fromkeys(images))
        if len(images) > IMAGE_LIMIT:
            raise CannotRun(
                "InputInvalid", f"there are {len(images)} images, more than {IMAGE_LIMIT}: test them in parts"
            )
        return images

    async def _customer(self, resource: ImageTest) -> Customer | None:
        if resource.spec.as_ is None:
            return None
        name, namespace = resource.spec.as_.license_ref.name, resource.metadata.namespace
        awaited = Key("License", namespace, name)
        if await self._store.get(awaited) is None:
            words = f"there is no License {name} in {namespace}; create it or mend spec.as"
            raise CannotRun("LicenseUnknown", words, may_come=True, awaited=awaited)
        secret = await self._store.get(Key("Secret", namespace, secret_names(name)[1]))
        if secret is None:
            words = f"License {name} has no pull Secret yet; it is looked for again"
            raise CannotRun("CredentialsMissing", words, may_come=True, awaited=awaited)
        networks = self._tenants.of(namespace).networks
        try:
            marker = await build_marker(self._store, namespace, name)
            ca_pem = await self._read_ca()
            return build_customer(name, secret, self._settings.external_url, networks, ca_pem, marker)
        except InvalidCA as error:
            raise CannotRun("CAInvalid", str(error)) from error
        except (ValueError, KeyError) as error:
            raise CannotRun("CredentialsMissing", str(error) or "the pull Secret cannot be read") from error

    async def _read_ca(self) -> str | None:
        path = self._settings.proxy_ca
        return await asyncio.to_thread(read_ca_file, path) if path is not None else None


def _lacking_of(resource: ImageTest) -> list[str]:
    """The images for which the run of an earlier process could ask nobody."""
    last = resource.status.last_run
    if last is None or last.generation != resource.metadata.generation:
        return []
    return [row.image for row in resource.status.results if row.reason in LACKS]
