"""The files of the blob cache by themselves: what counts as proven, and what is followed."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

from pullgate.upstream.client import Upstream
from pullgate_proxy.cache.blobs.ask import Ask, Place
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.disk import BlobDir, open_file
from pullgate_proxy.cache.blobs.keeper import Bounds, Keeper
from pullgate_proxy.cache.where import Where

LARGE = 128 * 2**20
"""Bytes that take a while to hash."""


def kept(directory: BlobDir, content: bytes) -> tuple[str, Path]:
    """A blob that an earlier run left."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    directory.prepare()
    path = directory.path(digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return digest, path


def test_a_file_that_is_written_to_while_it_is_hashed_is_not_proven(tmp_path: Path) -> None:
    directory = BlobDir(tmp_path)
    digest, path = kept(directory, bytes(LARGE))
    done = threading.Event()

    def write() -> None:
        with path.open("r+b") as file:
            while not done.wait(0.001):
                file.seek(0)
                file.write(b"\0")  # the same: only who wrote can tell
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open_file(path) as file:
            assert not directory.verify(digest, file)
    finally:
        done.set()
        writer.join()
    found = directory.open(digest)
    assert found is not None
    assert not found.proven
    with found.file as file:
        assert directory.verify(digest, file)
    found = directory.open(digest)
    assert found is not None
    with found.file:
        assert found.proven


def test_a_file_that_was_cut_as_it_was_sealed_is_not_proven(tmp_path: Path) -> None:
    directory = BlobDir(tmp_path)
    digest, path = kept(directory, b"")
    with path.open("rb") as file:
        directory.seal(file.fileno())
    found = directory.open(digest)
    assert found is not None
    with found.file:
        assert not found.proven


def test_a_file_that_two_verify_at_once_is_proven_to_both(tmp_path: Path) -> None:
    directory = BlobDir(tmp_path)
    digest, path = kept(directory, bytes(LARGE))
    results = []

    def verify() -> None:
        with open_file(path) as file:
            results.append(directory.verify(digest, file))

    threads = [threading.Thread(target=verify) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


async def test_a_file_that_takes_the_place_of_one_that_was_verified_is_not_served(tmp_path: Path) -> None:
    class Unsafe(BlobDir):
        """Somebody puts another file in the place of each that was verified."""

        def verify(self, digest: str, file: io.FileIO) -> bool:
            good = super().verify(digest, file)
            other = tmp_path / "other"
            other.write_bytes(b"other")
            other.replace(self.path(digest))
            return good

    def current() -> Upstream:
        raise AssertionError("nothing is asked")

    def nothing(*_: Any) -> None: ...

    directory = Unsafe(tmp_path)
    digest, _ = kept(directory, b"right")
    cache = BlobCache(
        Keeper(directory, Bounds(2**20, 16), nothing), lambda: 0.0, on_result=nothing, on_received=nothing
    )
    await cache.start()
    where = Where(("ns", "name", "uid"), "host", 0.0, 0.0)
    ask = Ask(where, "a/b", digest, current)
    cache.note_there(ask.place)
    assert await cache.open(ask, begin=False) is None
    await cache.close()


async def test_a_blob_that_is_evicted_takes_its_proofs_with_it_and_a_second_copy_counts_once(tmp_path: Path) -> None:
    def nothing(*_: Any) -> None: ...

    async def keep(digest: str, key: str, size: int) -> Place:
        place = Place(digest, "my-app", key * 32)
        claimed = await keeper.claim(place, size)
        assert claimed is not None
        claimed.write_bytes(bytes(size))
        assert await keeper.commit(place)
        return place

    keeper = Keeper(BlobDir(tmp_path), Bounds(1000, 16), nothing)
    await keeper.start()
    first, *others = (f"sha256:{number:064x}" for number in range(3))
    places = [await keep(first, "0", 300), await keep(first, "1", 300)]
    assert (keeper.size, keeper.files) == (300, 1)
    assert [keeper.is_proven(place) for place in places] == [True, True]
    for digest in others:
        await keep(digest, "0", 400)
        keeper.pin(digest)
    assert not keeper.directory.path(first).exists()
    assert [keeper.is_proven(place) for place in places] == [False, False]
    await keeper.stop()
    again = Keeper(BlobDir(tmp_path), Bounds(1000, 16), nothing)
    await again.start()
    assert [again.is_proven(place) for place in places] == [False, False]
    assert again.is_proven(Place(others[-1], "my-app", "0" * 32))
    await again.stop()
