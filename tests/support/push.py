"""Pushing to a registry by the distribution-spec: blobs in one PUT each, then manifests, what is named first."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from yarl import URL

from tests.support.content import Content
from tests.support.images import Image


class PushRefused(Exception):
    """A registry did not take what it was sent."""


async def push_image(session: aiohttp.ClientSession, base: str, repository: str, tag: str | None, image: Image) -> str:
    """Push `image` to http://…/v2/repository under `tag`, or untagged where it is None. Returns its digest.

    An index brings its manifests along, untagged. `session` carries the credentials. Raises PushRefused.
    """
    root = f"{base}/v2/{repository}"
    for manifest in image.walk():
        for digest, blob in manifest.blobs.items():
            await _push_blob(session, root, digest, blob)
        for digest, stream in manifest.streams.items():
            await _push_blob(session, root, digest, stream)
        reference = tag if tag is not None and manifest is image else manifest.digest
        headers = {"Content-Type": manifest.media_type}
        async with session.put(f"{root}/manifests/{reference}", data=manifest.manifest, headers=headers) as response:
            await _expect(response, 201)
    return image.digest


async def _push_blob(session: aiohttp.ClientSession, root: str, digest: str, blob: bytes | Content) -> None:
    async with session.head(f"{root}/blobs/{digest}") as response:
        if response.status == 200:
            return
    async with session.post(f"{root}/blobs/uploads/") as response:
        await _expect(response, 202)
        location = response.url.join(URL(response.headers["Location"], encoded=True))
    data = blob if isinstance(blob, bytes) else _pieces(blob)
    async with session.put(location.extend_query(digest=digest), data=data) as response:
        await _expect(response, 201)


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    for chunk in content.chunks():
        yield chunk


async def _expect(response: aiohttp.ClientResponse, status: int) -> None:
    if response.status != status:
        text = (await response.text())[:2000]
        raise PushRefused(f"{response.method} {response.url.path}: {response.status} {text}")
