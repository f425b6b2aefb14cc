"""A second tier in an object store (S3's API): what every replica fetched once, and what a redirect may lead to.

Beside the blobs it has an object for each place that is proven. Without it a place is served nothing from the store:
another place's blob proves nothing for this one.

botocore signs URLs, which is all that it does here; the requests are aiohttp's. A store that fails costs itself alone:
nothing is asked of it for a while.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import aiohttp
from yarl import URL

from pullgate.providers.exchange import ExchangeFailed, load_extra, run_blocking
from pullgate.tls_context import client_context
from pullgate.upstream.egress import Egress, InvalidProxy
from pullgate.upstream.request import UpstreamResponse
from pullgate_proxy.cache.blobs.ask import Ask, Place
from pullgate_proxy.cache.blobs.disk import BlobDir

URL_SECONDS: Final = 300
"""How long a URL serves that a client is redirected to, whatever becomes of its License."""
KNOWN_SECONDS: Final = 300.0
ABSENT_SECONDS: Final = 30.0
KNOWN: Final = 200_000
PAUSE_SECONDS: Final = 10.0
UPLOADS: Final = 2
"""At once."""
WAITING: Final = 1000
LARGEST: Final = 5 * 1024**3
"""Bytes that S3 takes in one request; larger blobs are not stored."""
IDLE_SECONDS: Final = 30.0
ASK_SECONDS: Final = 5.0
"""For the answer to what is there: a client waits for it."""
PROOF: Final = b"proven"
"""The content of a proof's object, which its name alone makes one."""
UPLOAD_RESULTS: Final = ("ok", "failed")

_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]{0,512}))?\Z")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket, and where in it."""

    bucket: str
    prefix: str
    endpoint: str | None = None
    """The URL of a store other than AWS; None for AWS."""

    def key(self, digest: str) -> str:
        """The object of a blob."""
        algorithm, _, name = digest.partition(":")
        return f"{self.prefix}blobs/{algorithm}/{name[:2]}/{name}"

    def proof_key(self, place: Place) -> str:
        """The object that tells that the upstream of `place` has delivered the blob, whole and verified."""
        algorithm, _, name = place.digest.partition(":")
        return f"{self.prefix}proofs/{algorithm}/{name[:2]}/{name}/{place.key}"


def parse_location(text: str, endpoint: str | None = None) -> Location:
    """`s3://BUCKET/PREFIX`. Raises ValueError, in words."""
    found = _LOCATION.match(text)
    if found is None:
        raise ValueError(f"object store {text!r}: write it like s3://my-bucket/pullgate")
    prefix = (found[2] or "").strip("/")
    return Location(found[1], f"{prefix}/" if prefix else "", endpoint)


class ObjectStore:
    """Blobs in a bucket. Its credentials are the process' own, as botocore finds them."""

    name = "store"
    vouches = False

    def __init__(
        self,
        location: Location,
        directory: BlobDir,
        clock: Callable[[], float],
        on_upload: Callable[[str], None],
    ) -> None:
        """`directory` has the blobs; `on_upload` receives the result of each upload, one of UPLOAD_RESULTS."""
        self._location, self._directory, self._clock, self._on_upload = location, directory, clock, on_upload
        self._known: OrderedDict[str, tuple[int | None, float]] = OrderedDict()
        """Key of an object -> its size (None: not there), and until when that is believed."""
        self._waiting: asyncio.Queue[Place] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._client: Any = None
        self._session: aiohttp.ClientSession | None = None
        self._egress = Egress(os.environ)
        self._again_at = 0.0
        self.problem = ""
        """Why it is left alone; empty if all is well."""

    async def start(self) -> None:
        """Begin to upload. Raises ExchangeFailed if botocore is not installed."""
        self._client = await run_blocking(self._build_client)
        timeout = aiohttp.ClientTimeout(connect=5.0, sock_connect=5.0, sock_read=IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=client_context()),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
        )
        self._workers = [asyncio.create_task(self._upload_all(), name=f"upload {n}") for n in range(UPLOADS)]

    async def close(self) -> None:
        """End what is on its way."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- what is there ---

    async def ask(self, ask: Ask) -> UpstreamResponse | None:
        """See Elsewhere."""
        key = self._location.key(ask.digest)
        if not await self._may_serve(ask.place) or self._session is None:
            return None
        try:
            url = await self._sign("get_object", key)
            raw = await self._session.get(url, allow_redirects=False, **self._way_to(url))
        except (aiohttp.ClientError, OSError, TimeoutError, ExchangeFailed) as error:
            self._failed(error)
            return None
        if raw.status != 200:
            raw.close()
            self._note(key, None)
            return None
        return UpstreamResponse(raw, "the object store", IDLE_SECONDS)

    async def locate(self, place: Place) -> str | None:
        """A URL at which a client gets the blob, for a while; None if it is not there, or not for this place."""
        if not await self._may_serve(place):
            return None
        try:
            return str(await self._sign("get_object", self._location.key(place.digest)))
        except ExchangeFailed as error:
            self._failed(error)
            return None

    async def _may_serve(self, place: Place) -> bool:
        """True if the blob is there, and proven for `place`. A store that does not say so is a no."""
        proof = await self._size_of(self._location.proof_key(place))
        return proof is not None and await self._size_of(self._location.key(place.digest)) is not None

    async def _size_of(self, key: str) -> int | None:
        known = self._known.get(key)
        now = self._clock()
        if known is not None and now < known[1]:
            return known[0]
        if now < self._again_at or self._session is None:
            return None
        try:
            url = await self._sign("head_object", key)
            timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
            options = self._way_to(url)
            async with self._session.head(url, allow_redirects=False, timeout=timeout, **options) as response:
                if response.status not in {200, 403, 404}:
                    raise aiohttp.ClientError(f"it answered {response.status}")
                size = response.content_length if response.status == 200 else None
                refused = response.status == 403
        except (aiohttp.ClientError, OSError, TimeoutError, ExchangeFailed) as error:
            self._failed(error)
            return None
        # Without the right to list a bucket, S3 answers 403 for a missing object as for refused credentials.
        if not refused:
            self._mended()
        self._note(key, size)
        return size

    def _note(self, key: str, size: int | None) -> None:
        self._known[key] = (size, self._clock() + (KNOWN_SECONDS if size is not None else ABSENT_SECONDS))
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    # --- what comes in ---

    def put_later(self, place: Place) -> None:
        """Queue the blob and the proof of `place`, which is proven, for upload; skip it if the queue is full."""
        if not self._waiting.full():
            self._waiting.put_nowait(place)

    async def _upload_all(self) -> None:
        while True:
            place = await self._waiting.get()
            try:
                await self._upload(place)
            except (aiohttp.ClientError, OSError, TimeoutError, ExchangeFailed) as error:
                self._on_upload("failed")
                self._failed(error)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                log.exception("uploading %s failed", place.digest)

    async def _upload(self, place: Place) -> None:
        """Put the blob, then its proof, unless they are there.

        Raises aiohttp.ClientError, OSError, TimeoutError, ExchangeFailed.
        """
        found = await asyncio.to_thread(self._directory.open, place.digest)
        if found is None:
            return  # it was removed meanwhile
        key, proof = self._location.key(place.digest), self._location.proof_key(place)
        with io.BufferedReader(found.file) as file:
            # All replicas read it from there, and clients by a redirect: a file that somebody wrote to stays here.
            if not found.proven or found.size > LARGEST:
                return
            if await self._size_of(key) != found.size:
                await self._put(key, file, found.size)
                self._on_upload("ok")
        if await self._size_of(proof) is None:
            await self._put(proof, PROOF, len(PROOF))

    async def _put(self, key: str, content: bytes | BinaryIO, size: int) -> None:
        if self._session is None:
            raise aiohttp.ClientError("it is closed")
        url = await self._sign("put_object", key)
        async with self._session.put(url, data=content, allow_redirects=False, **self._way_to(url)) as response:
            if response.status != 200:
                raise aiohttp.ClientError(f"it answered {response.status} to an upload")
        self._note(key, size)
        self._mended()

    # --- how it is asked ---

    def _build_client(self) -> Any:
        session = load_extra("botocore.session", "aws").Session()
        config = load_extra("botocore.config", "aws").Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if self._location.endpoint else "auto"},
            request_checksum_calculation="when_required",
        )
        return session.create_client("s3", endpoint_url=self._location.endpoint, config=config)

    def _way_to(self, url: URL) -> dict[str, Any]:
        """Options of a request that goes through the egress proxy, if there is one. Raises aiohttp.ClientError."""
        try:
            proxy = self._egress.proxy_for(url)
        except InvalidProxy as error:
            raise aiohttp.ClientError(str(error)) from None
        if proxy is None:
            return {}
        headers, connect = proxy.headers_for(url, {})
        return {"proxy": proxy.url, "proxy_headers": connect, "headers": headers}

    async def _sign(self, operation: str, key: str) -> URL:
        """Raises ExchangeFailed. In a thread: the credentials may have to be renewed."""
        parameters = {"Bucket": self._location.bucket, "Key": key}
        errors = load_extra("botocore.exceptions", "aws")

        def sign() -> str:
            try:
                return str(self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=URL_SECONDS))
            except errors.BotoCoreError as error:
                words = f"its URL cannot be signed ({type(error).__name__})"
                raise ExchangeFailed("IdentityMissing", words, "give the proxy AWS credentials") from None

        return URL(await run_blocking(sign), encoded=True)

    def _failed(self, error: Exception) -> None:
        # An error of aiohttp may hold the URL, and so its signature.
        words = str(error) if isinstance(error, ExchangeFailed) or type(error) is aiohttp.ClientError else ""
        words = words or type(error).__name__
        if words != self.problem:
            log.warning("the object store s3://%s is left alone for a while: %s", self._location.bucket, words)
        self.problem, self._again_at = words, self._clock() + PAUSE_SECONDS

    def _mended(self) -> None:
        if self.problem:
            log.warning("the object store s3://%s is used again", self._location.bucket)
        self.problem = ""
