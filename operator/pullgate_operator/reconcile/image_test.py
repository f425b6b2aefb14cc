"""An ImageTest: its images probed when it is due, its conditions told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime

from pullgate.oci.rendered import InvalidInput, parse_image_path, read_images
from pullgate.resources import ImageTest, parse_resource
from pullgate.resources.image_test import IMAGE_LIMIT
from pullgate.store.port import Key, Store, StoreUnavailable
from pullgate.upstream.probe import ImageResult, ProbeOptions, ProbeTarget, probe_all
from pullgate_operator.plan.image_test import RETRY, Finished, Problem, plan_image_test
from pullgate_operator.plan.license import secret_names
from pullgate_operator.plan.targets import Customer, Sources
from pullgate_operator.reconcile.apply import apply_plan
from pullgate_operator.reconcile.settings import Clock
from pullgate_operator.reconcile.sources import build_customer, gather_sources

log = logging.getLogger(__name__)


class CannotRun(Exception):
    """What a run needs is not there; it is tried again later."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(reason, message)


class ImageTestReconciler:
    """Gather, decide, apply. Runs are beside it: one for each test, a bounded number at once."""

    def __init__(
        self, store: Store, clock: Clock, external_url: str, *, again: Callable[[Key], None], runs: int
    ) -> None:
        self._store, self._clock, self._external_url, self._again = store, clock, external_url, again
        self._slots = asyncio.Semaphore(runs)
        self._running: dict[Key, tuple[int, asyncio.Task[None]]] = {}
        """Generation, and the run."""
        self._finished: dict[Key, Finished] = {}

    async def reconcile(self, key: Key) -> datetime | None:
        """Bring one ImageTest up to date; returns when to come again. Raises InvalidResource, StoreUnavailable."""
        document = await self._store.get(key)
        if document is None:
            self._end(key)
            self._finished.pop(key, None)
            return None
        resource = parse_resource(document)
        if not isinstance(resource, ImageTest):
            return None
        running = self._running.get(key)
        if running is not None and running[0] != resource.metadata.generation:
            self._end(key)
            running = None
        planned = plan_image_test(resource, self._finished.get(key), running=running is not None, now=self._clock())
        await apply_plan(self._store, key, document, planned.plan)
        if planned.run:
            task = asyncio.create_task(self._run(key, resource), name=f"test {key.name}")
            self._running[key] = (resource.metadata.generation, task)
        return planned.plan.due

    async def stop(self) -> None:
        """End the runs; each is made again by whoever comes next."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: Key) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running[1].cancel()

    # --- one run ---

    async def _run(self, key: Key, resource: ImageTest) -> None:
        async with self._slots:
            finished = await self._probe(resource)
        if self._running.get(key, (0, None))[1] is not asyncio.current_task():
            return  # it is gone, or another generation
        del self._running[key]
        self._finished[key] = finished
        self._again(key)

    async def _probe(self, resource: ImageTest) -> Finished:
        started, began = self._clock(), time.monotonic()
        results: tuple[ImageResult, ...] = ()
        problem = None
        try:
            results = await self._ask(resource)
        except CannotRun as error:
            problem = error.problem
        except StoreUnavailable as error:
            problem = Problem("StoreUnavailable", str(error))
        except Exception:
            log.exception("testing ImageTest %s/%s failed", resource.metadata.namespace, resource.metadata.name)
            problem = Problem("Internal", "the test itself failed; see the operator's log")
        return Finished(
            started,
            time.monotonic() - began,
            resource.metadata.generation,
            results,
            problem,
            retry_at=self._clock() + RETRY if problem is not None else None,
        )

    async def _ask(self, resource: ImageTest) -> tuple[ImageResult, ...]:
        spec, namespace = resource.spec, resource.metadata.namespace
        images = await self._gather_images(resource)
        sources = Sources(namespace, await gather_sources(self._store, namespace), await self._customer(resource))
        asked = [sources.target(image) for image in images]
        targets = [each for each in asked if isinstance(each, ProbeTarget)]
        options = ProbeOptions(
            depth=spec.depth, platforms=spec.platforms, timeout=spec.timeout.total_seconds(), retries=spec.retries
        )
        found = iter(await probe_all(targets, options))
        return tuple(next(found) if isinstance(each, ProbeTarget) else each for each in asked)

    async def _gather_images(self, resource: ImageTest) -> list[str]:
        images = list(resource.spec.images)
        if resource.spec.images_from is not None:
            ref, paths = resource.spec.images_from.config_map_key_ref, resource.spec.images_from.image_paths
            key = Key("ConfigMap", resource.metadata.namespace, ref.name)
            document = await self._store.fetch(key)
            text = ((document or {}).get("data") or {}).get(ref.key)
            if document is None or not isinstance(text, str):
                what = f"ConfigMap {ref.name}" if document is None else f"key {ref.key} in ConfigMap {ref.name}"
                raise CannotRun("ConfigMapMissing", f"there is no {what}; it is looked for again")
            try:
                found = await asyncio.to_thread(read_images, text, [parse_image_path(path) for path in paths])
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
        if await self._store.get(Key("License", namespace, name)) is None:
            raise CannotRun("LicenseUnknown", f"there is no License {name} in {namespace}; create it or mend spec.as")
        secret = await self._store.get(Key("Secret", namespace, secret_names(name)[1]))
        if secret is None:
            raise CannotRun("CredentialsMissing", f"License {name} has no pull Secret yet; it is looked for again")
        try:
            return build_customer(name, secret, self._external_url)
        except (ValueError, KeyError) as error:
            raise CannotRun("CredentialsMissing", str(error) or "the pull Secret cannot be read") from error
