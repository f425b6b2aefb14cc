"""Requests to the API server: credentials of a kubeconfig or of the pod, JSON in and out, faults in words.

The client of `kubernetes.aio` sends them: TLS, proxies and the refreshing of tokens are its own. Its models are not
used: documents stay as they came.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from pullgate.store.port import StoreUnavailable
from pullgate.turns import aside

PAGE: Final = 500
"""Documents of one page of a list."""
_ITEMS: Final = '"items":['
"""As Go writes it. In a string its quotes would be escaped."""
EVENT_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of one event of a watch; etcd takes documents of 1.5 MiB."""
WATCH_SECONDS: Final = 300
SILENCE_SECONDS: Final = 100.0
"""A watch with bookmarks says something every minute; one that is silent for longer is dead."""
REQUEST_SECONDS: Final = 30.0
CONNECTIONS: Final = 64

METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
KUBECONFIG: Final = "~/.kube/config"
POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Params = Mapping[str, str]


class Conflict(StoreUnavailable):
    """Somebody else changed it meanwhile; what is there now has to be read first."""


class Forbidden(StoreUnavailable):
    """RBAC does not allow it (403); the message says what."""


class Missing(StoreUnavailable):
    """404."""


class Gone(Exception):
    """The resource version is too old (410): everything has to be listed again."""


class NotConnected(Exception):
    """No API server is known, or its credentials cannot be read; the message says what to do."""


class Api:
    """One API server. Use as an async context manager."""

    def __init__(
        self,
        configuration: Configuration,
        on_write: Callable[[str], None] = lambda _: None,
        namespace: str = "default",
    ) -> None:
        """`on_write` receives the resource (licenses, secrets, leases …) of each request that may change something."""
        self._configuration, self._on_write = configuration, on_write
        # Python's strict check refuses certificates that Go's client and curl take: those of an authority without key
        # identifiers, as EKS and others have. Chain, name and time are checked all the same.
        configuration.disable_strict_ssl_verification = True
        configuration.connection_pool_maxsize = CONNECTIONS
        configuration.client_session_kwargs = {"middlewares": (_refuse_redirects,)}
        self.namespace = namespace
        """The one of the kubeconfig's context, or of the pod."""
        self._client: ApiClient | None = None

    @classmethod
    async def load(
        cls,
        kubeconfig: Path | None = None,
        on_write: Callable[[str], None] = lambda _: None,
        context: str | None = None,
    ) -> Self:
        """The API server of `kubeconfig`, of $KUBECONFIG, or of the pod this runs in. Raises NotConnected."""
        configuration = Configuration()
        given = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG")
        path = given or KUBECONFIG
        fix = "run it in a pod with a ServiceAccount, or set KUBECONFIG"
        namespace = _pod_namespace()
        try:
            if given or context or "KUBERNETES_SERVICE_HOST" not in os.environ:
                if not _is_there(path):
                    raise NotConnected(f"no API server is known: there is no kubeconfig at {path}; {fix}")
                await config.load_kube_config(config_file=path, context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
                namespace = _context_namespace(path, context)
            else:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise NotConnected(f"no API server is known: {error}; {fix}") from error
        except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
            # The library checks little: an empty file, text and another shape each end in an exception of its own.
            why = "is no kubeconfig" if _has_content(path) else "holds nothing"
            raise NotConnected(
                f"no API server is known: {path} {why}; write one, as `kubectl config view` shows it"
            ) from error
        return cls(configuration, on_write, namespace)

    async def __aenter__(self) -> Self:
        """Raises NotConnected for a certificate or key that cannot be read."""
        try:
            self._client = ApiClient(self._configuration)
        except (OSError, ValueError) as error:
            words = "the kubeconfig's certificate or key cannot be read"
            raise NotConnected(f"{words}: {getattr(error, 'reason', None) or error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]

    @property
    def host(self) -> str:
        """The API server's address: scheme://host[:port]."""
        return self._configuration.host.rstrip("/")

    def open_session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """A session for the requests of another library, with the same TLS, proxy and credentials; the caller's."""
        if self._client is None:
            raise StoreUnavailable("the connection to the API server is closed")

        async def authorize(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            request.headers.update(await self._authorization())
            return await send(request)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._client.rest_client.ssl_context, limit=CONNECTIONS),
            proxy=self._configuration.proxy,
            trust_env=True,
            middlewares=(*middlewares, _refuse_redirects, authorize),
        )

    async def list_page(self, path: str, params: Params, *, metadata_only: bool = False) -> dict[str, Any]:
        """A page of a list, or of its metadata alone. Raises Gone, StoreUnavailable."""
        accept = METADATA if metadata_only else None
        return await self._json("GET", path, params=params, accept=accept, read=read_page)

    async def get(self, path: str) -> dict[str, Any] | None:
        """A document, or None. Raises StoreUnavailable."""
        try:
            return await self._json("GET", path)
        except Missing:
            return None

    async def create(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """POST a document. Raises Conflict if it exists, Forbidden, Missing, StoreUnavailable."""
        return await self._json("POST", path, document)

    async def replace(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """PUT a document with its resourceVersion. Raises Conflict, StoreUnavailable."""
        return await self._json("PUT", path, document)

    async def patch(
        self, path: str, patch: Any, media_type: str, params: Params | None = None
    ) -> dict[str, Any] | None:
        """PATCH a document; None if it is gone. Raises Conflict, StoreUnavailable."""
        try:
            return await self._json("PATCH", path, patch, media_type, params)
        except Missing:
            return None

    async def delete(self, path: str) -> None:
        """DELETE a document, if it is there. Raises StoreUnavailable."""
        with contextlib.suppress(Missing):
            await self._json("DELETE", path)

    async def watch(self, path: str, resource_version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Type and document of each event after `resource_version`, until the server ends it.

        Raises Gone, StoreUnavailable.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async with self._request("GET", path, params=params, silence=SILENCE_SECONDS) as response:
            rest = b""
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > EVENT_LIMIT:
                    raise StoreUnavailable("the API server sent an event that is too large")
                for line in lines:
                    if line:
                        yield _read_event(line)

    async def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        media_type: str = "application/json",
        params: Params | None = None,
        accept: str | None = None,
        read: Callable[[bytes], dict[str, Any]] = json.loads,
    ) -> dict[str, Any]:
        headers = {"Content-Type": media_type} if body is not None else {}
        headers |= {"Accept": accept} if accept else {}
        if method != "GET":
            self._on_write(_resource_of(path))
        async with self._request(method, path, params=params, headers=headers, body=body) as response:
            data = await response.read()
            return await aside(len(data), lambda: read(data))

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Params | None = None,
        body: Any = None,
        silence: float = REQUEST_SECONDS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._client is None:
            raise StoreUnavailable("the connection to the API server is closed")
        url = f"{self.host}{path}?{urlencode(params)}" if params else self.host + path
        timeout = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=silence)
        try:
            sent = {**(headers or {}), **await self._authorization()}
            answer = await self._client.call_api(method, url, sent, body, _request_timeout=timeout)
            async with answer.response as response:
                if response.status >= 300:
                    raise _refusal(response.status, await response.content.read(4096))
                yield response
        except (
            aiohttp.ClientError,
            ApiException,
            OSError,
            TimeoutError,
            config.ConfigException,
            json.JSONDecodeError,
        ) as error:
            cause = str(error) or type(error).__name__
            raise StoreUnavailable(f"the API server cannot be reached: {cause}") from error

    async def _authorization(self) -> dict[str, str]:
        settings: Mapping[str, Any] = await self._configuration.auth_settings()
        return {each["key"]: each["value"] for each in settings.values() if each["in"] == "header" and each["value"]}


async def _refuse_redirects(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """An API server sends nobody elsewhere, and credentials go to no other host."""
    response = await send(request)
    if 300 <= response.status < 400:
        response.close()
        raise aiohttp.ClientError(f"it answered {response.status} with another address")
    return response


def _resource_of(path: str) -> str:
    """/…/namespaces/NAMESPACE/RESOURCE[/NAME[/status]] -> RESOURCE."""
    return path.partition("/namespaces/")[2].split("/")[1]


def _context_namespace(path: str, context: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(config_file=path)  # type: ignore[no-untyped-call]
    chosen = next((c for c in contexts if c["name"] == context), active)
    return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _pod_namespace() -> str:
    try:
        return POD_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _is_there(path: str) -> bool:
    """True if any file of a kubeconfig's path, which may be a list, exists."""
    return any(Path(part).expanduser().exists() for part in path.split(os.pathsep) if part)


def _has_content(path: str) -> bool:
    """True if any file of a kubeconfig's path holds more than white space."""
    files = [Path(part).expanduser() for part in path.split(os.pathsep) if part]
    return any(file.read_bytes().strip() for file in files if file.is_file())


def _refusal(status: int, body: bytes) -> Exception:
    """The error of an answer. The message of a Status names the object, never its content."""
    try:
        message = str(json.loads(body).get("message", ""))[:300]
    except (ValueError, AttributeError):
        message = ""
    words = f"the API server answered {status}" + (f": {message}" if message else "")
    match status:
        case 404:
            return Missing(words)
        case 403:
            return Forbidden(words)
        case 409 | 422:
            return Conflict(words)
        case 410:
            return Gone(words)
        case _:
            return StoreUnavailable(words)


def read_page(data: bytes) -> dict[str, Any]:
    """A page of a list, item by item: `json.loads` of a whole page would hold all threads up.

    Raises json.JSONDecodeError.
    """
    text = data.decode()
    begin = text.find(_ITEMS)
    if begin < 0:
        document: dict[str, Any] = json.loads(text)
        return document
    items, at, decoder = [], begin + len(_ITEMS), json.JSONDecoder()
    while text[at : at + 1] not in {"]", ""}:
        item, at = decoder.raw_decode(text, at)
        items.append(item)
        at += text[at : at + 1] == ","
    page: dict[str, Any] = json.loads(f"{text[:begin]}{_ITEMS}{text[at:]}")
    return {**page, "items": items}


def _read_event(line: bytes) -> tuple[str, dict[str, Any]]:
    event = json.loads(line)
    type_, document = event["type"], event["object"]
    if type_ == "ERROR":
        raise _refusal(int(document.get("code") or 500), json.dumps(document).encode())
    return type_, document
