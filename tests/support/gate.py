"""A whole Pullgate in this process: a real folder, the reconcilers, and the proxy on a free port."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from yarl import URL

from pullgate.policy.tenancy import LOOPBACK, TenantPolicy
from pullgate.store.folder import FolderStore
from pullgate_operator.reconcile.loop import Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from pullgate_proxy.app import Proxy
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.settings import ProxySettings
from tests.support.canaries import FOUND, canary, look, search_product_files

APP = "my-app"
API_VERSION = "pullgate.dev/v1alpha1"
WAIT_SECONDS = 10.0
BODY_LIMIT = 256 * 1024
"""Bytes of an answer that are looked at; what is longer is a layer."""
ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)

RECONCILING = ("check_seconds", "image_test_wait", "least_interval", "proxy_ca", "tenants")
"""Settings that are the reconcilers'; all others are the proxy's."""

Document = dict[str, Any]


def registry(
    name: str, host: str, *, secret: str | None = None, plain_http: bool = True, namespace: str = APP, **spec: Any
) -> Document:
    """A Registry of type Generic; anonymous without a `secret`."""
    credentials: Document = {"secretRef": {"name": secret}} if secret else {"anonymous": {}}
    tls = {"plainHTTP": plain_http, **spec.pop("tls", {})}
    body = {"type": "Generic", "host": host, "credentials": credentials, "tls": tls, **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "Registry", "metadata": metadata, "spec": body}


def secret(name: str, username: str, password: str, namespace: str = APP) -> Document:
    """A basic-auth Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": username, "password": canary(password)},
    }


def license_(name: str, *entitlements: Document, namespace: str = APP, **spec: Any) -> Document:
    """A License; without an entitlement it covers everything of its namespace."""
    body = {
        "customer": {"name": name},
        "entitlements": list(entitlements) or [{"repositories": ["**"]}],
        **spec,
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": "License", "metadata": metadata, "spec": body}


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy's answer to one request."""

    status: int
    reason: str
    headers: Any
    body: bytes = field(repr=False)

    @property
    def fault(self) -> str:
        """The reason of the faults table."""
        return str(self.headers.get("X-Pullgate-Reason", ""))

    @property
    def message(self) -> str:
        """The first error's message."""
        return str(json.loads(self.body)["errors"][0]["message"])

    @property
    def code(self) -> str:
        """The first error's OCI code."""
        return str(json.loads(self.body)["errors"][0]["code"])


class Gate:
    """`async with Gate(tmp_path) as gate`: write resources, take keys, ask the proxy."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        self.log = io.StringIO()
        self._reconciling = {name: settings.pop(name) for name in RECONCILING if name in settings}
        self._settings = settings
        self._stack = contextlib.AsyncExitStack()
        self.store: FolderStore
        self.proxy: Proxy
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.store = FolderStore(self.directory)
        await self.store.start()
        self._stack.push_async_callback(self.store.stop)
        external_url = self._settings.get("external_url", "http://localhost")
        self._reconciling.setdefault("tenants", TenantPolicy(networks=LOOPBACK))
        reconciling = ReconcileSettings(external_url, own_identity=frozenset({"*"}), **self._reconciling)
        self._reconciler = Reconciler(self.store, reconciling)
        task = asyncio.create_task(self._reconciler.run())
        self._stack.push_async_callback(_cancel, task)
        self.proxy = await self.start_proxy()
        self.session = await self._stack.enter_async_context(
            aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        )
        await self.until(lambda: self.proxy.snapshot.synced and bool(self.proxy.snapshot.signing_keys.keys))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._look_around()
        await self._stack.aclose()

    async def _look_around(self) -> None:
        """No secret in the access log, in what the admin port tells, and in what stands on the disk."""
        look("access log", self.log.getvalue())
        for path in ("metrics", "usage", "healthz", "readyz"):
            with contextlib.suppress(aiohttp.ClientConnectionError):  # a test stopped it
                async with self.session.get(f"http://127.0.0.1:{self.proxy.admin_port}/{path}") as got:
                    look(f"/{path} of the admin port", await got.read())
        keys = [form for key in self.proxy.snapshot.signing_keys.keys for form in _forms(key.secret)]
        FOUND.extend(await asyncio.to_thread(search_product_files, self.directory, keys))

    def on_exit(self, end: Callable[..., Awaitable[Any]]) -> None:
        """Leave another context when this one ends."""
        self._stack.push_async_exit(end)

    def override(self, **changed: Any) -> None:
        """Change settings of the running proxy."""
        self.proxy.settings = dataclasses.replace(self.proxy.settings, **changed)

    async def start_proxy(self, **changed: Any) -> Proxy:
        """One more proxy on the same folder: a replica, or a restart."""
        # Most tests are about what the upstream answers now.
        defaults = {"listen_port": 0, "admin_port": 0, "drain_seconds": 2.0, "manifest_cache": 0}
        settings = ProxySettings(**{**defaults, **self._settings, **changed})
        proxy = Proxy(settings, self.store, PullLog(self.log, "json"))
        await proxy.start()
        self._stack.push_async_callback(proxy.stop)
        return proxy

    async def tell_usage(self) -> None:
        """Let the reconcilers know what the proxy counted and which tokens were refused, as they ask for in time."""
        await self._reconciler.take_usage(self.proxy.usage.render())

    # --- resources ---

    async def apply(self, *documents: Document) -> None:
        """Write each document into a file of its own, and wait until Registries and Licenses are taken in."""
        for document in documents:
            path = self._path(document["kind"], document["metadata"]["name"], document["metadata"]["namespace"])
            await asyncio.to_thread(path.write_text, yaml.safe_dump(document))
        for document in documents:
            metadata = document["metadata"]
            if document["kind"] == "Registry":
                await self.until(functools.partial(self._has_registry, metadata["namespace"], metadata["name"]))
            if document["kind"] == "License":
                await self.until(functools.partial(self._has_license, metadata["namespace"], metadata["name"]))

    async def delete(self, kind: str, name: str, namespace: str = APP) -> None:
        """Remove the document's file."""
        await asyncio.to_thread(self._path(kind, name, namespace).unlink)

    def key(self, license_name: str, namespace: str = APP) -> str:
        """The license's current key, from its pull Secret."""
        path = self.directory / ".pullgate" / "secrets" / namespace / f"{license_name}-pull.yaml"
        document = yaml.safe_load(path.read_text())
        text = (document.get("stringData") or {}).get(".dockerconfigjson")
        config = json.loads(text or base64.b64decode(document["data"][".dockerconfigjson"]))
        first = next(iter(config["auths"].values()))
        return str(first.get("password") or base64.b64decode(first["auth"]).decode().partition(":")[2])

    def _path(self, kind: str, name: str, namespace: str = APP) -> Path:
        app = "" if namespace == APP else f"{namespace}-"
        return self.directory / f"{kind.lower()}-{app}{name}.yaml"

    def _has_registry(self, namespace: str, name: str) -> bool:
        facts = self.proxy.snapshot.registry_named(namespace, name)
        return facts is not None and (facts.suspended or self.proxy.snapshot.handoff(facts) is not None)

    def _has_license(self, namespace: str, name: str) -> bool:
        return bool(self.proxy.snapshot._keys_of.get((namespace, name)))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds`; fails after WAIT_SECONDS."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds():
                await asyncio.sleep(0.01)

    async def until_status(self, path: str, key: str, status: int) -> Answer:
        """Ask until the answer has `status`; fails after WAIT_SECONDS."""
        return await self._ask_until(path, key, lambda answer: answer.status == status)

    async def until_message(self, path: str, key: str, beginning: str) -> Answer:
        """Ask until the answer's error begins with `beginning`; fails after WAIT_SECONDS."""
        return await self._ask_until(
            path, key, lambda answer: answer.status >= 400 and answer.message.startswith(beginning)
        )

    async def _ask_until(self, path: str, key: str, holds: Callable[[Answer], bool]) -> Answer:
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds(answer := await self.get(path, key)):
                await asyncio.sleep(0.02)
        return answer

    # --- requests ---

    @property
    def host(self) -> str:
        """127.0.0.1:PORT"""
        return f"127.0.0.1:{self.proxy.port}"

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://{self.host}"

    async def ask(
        self, method: str, path: str, key: str | None = None, *, proxy: Proxy | None = None, **options: Any
    ) -> Answer:
        """One request with Basic credentials (none without a key); nothing is followed."""
        headers = {"Accept": ACCEPT, **options.pop("headers", {})}
        if key is not None:
            headers["Authorization"] = basic("customer", key)
        base = f"http://127.0.0.1:{proxy.port}" if proxy else self.url
        target = URL(base + path, encoded=True)
        async with self.session.request(method, target, headers=headers, allow_redirects=False, **options) as got:
            answer = Answer(got.status, got.reason or "", got.headers, await got.read())
            look_at_answer(method, path, answer)
            return answer

    async def get(self, path: str, key: str | None = None, **options: Any) -> Answer:
        """GET."""
        return await self.ask("GET", path, key, **options)

    def records(self) -> list[Document]:
        """The access log so far."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def look_at_answer(method: str, path: str, answer: Answer) -> None:
    """No secret in an answer, but for the proxy's own token where it is given."""
    place = f"answer {answer.status} to {method} {path.partition('?')[0]}"
    look(f"{place}, headers and reason", f"{answer.reason}\n{answer.headers}")
    if not (answer.status == 200 and path.startswith("/token")):
        look(f"{place}, body", answer.body[:BODY_LIMIT])


def _forms(key: bytes) -> tuple[str, ...]:
    """A key of bytes as text might hold it."""
    return base64.b64encode(key).decode()[:-2], base64.urlsafe_b64encode(key).decode()[:-2], key.hex()


def basic(user: str, password: str) -> str:
    """A Basic Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def running(directory: Path, *documents: Document, **settings: Any) -> AsyncIterator[Gate]:
    """A Gate with `documents` applied."""
    async with Gate(directory, **settings) as gate:
        await gate.apply(*documents)
        yield gate
