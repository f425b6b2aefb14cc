"""Bodies that are made while they are sent, so that a test can serve gigabytes from no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PIECE = 256 * 1024


def digest_of(data: bytes) -> str:
    """ "sha256:…" of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Content(Protocol):
    """A body, whole or in parts."""

    @property
    def size(self) -> int | None:
        """Bytes; None if it never ends."""

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `stop` (left out: the end), in pieces."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """A body that is in memory anyway."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content."""
        stop = self.size if stop is None else min(stop, self.size)
        for position in range(start, stop, PIECE):
            yield self.data[position : min(position + PIECE, stop)]


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that do not compress, the same for the same seed: AES-CTR over zeros between a given head and tail."""

    seed: str
    noise: int
    """Bytes of noise."""
    head: bytes = b""
    tail: bytes = b""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.head) + self.noise + len(self.tail)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content."""
        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            piece = self._piece(start, min(PIECE, stop - start))
            start += len(piece)
            yield piece

    def digest(self) -> str:
        """ "sha256:…" of the whole."""
        hasher = hashlib.sha256()
        for chunk in self.chunks():
            hasher.update(chunk)
        return "sha256:" + hasher.hexdigest()

    def _piece(self, start: int, length: int) -> bytes:
        """At least one byte, at most `length`, from `start` on."""
        if start < len(self.head):
            return self.head[start : start + length]
        offset = start - len(self.head)
        if offset >= self.noise:
            return self.tail[offset - self.noise :][:length]
        length = min(length, self.noise - offset)
        block, skip = divmod(offset, 16)
        key = hashlib.sha256(self.seed.encode()).digest()
        stream = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()
        return stream.update(bytes(skip + length))[skip:]


@dataclass(frozen=True, slots=True)
class Endless:
    """The same piece again and again, for ever."""

    piece: bytes = b"x" * 1024

    @property
    def size(self) -> None:
        """It never ends."""

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content; `start` and `stop` mean nothing here."""
        while True:
            yield self.piece


@dataclass(frozen=True, slots=True)
class Part:
    """`content` from `start` up to `stop`."""

    content: Content
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stop - self.start

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content."""
        end = self.stop if stop is None else min(self.stop, self.start + stop)
        return self.content.chunks(self.start + start, end)


@dataclass(frozen=True, slots=True)
class Corrupt:
    """`content` with all bits of the byte at `at` turned; the size is the same."""

    content: Content
    at: int

    @property
    def size(self) -> int | None:
        """Bytes."""
        return self.content.size

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content."""
        position = start
        for chunk in self.content.chunks(start, stop):
            index = self.at - position
            position += len(chunk)
            if 0 <= index < len(chunk):
                chunk = chunk[:index] + bytes([chunk[index] ^ 0xFF]) + chunk[index + 1 :]
            yield chunk


def content_of(body: bytes | Content) -> Content:
    """`body` as content."""
    return Bytes(body) if isinstance(body, bytes) else body


def read(body: bytes | Content) -> bytes:
    """The whole of a finite body."""
    return body if isinstance(body, bytes) else b"".join(body.chunks())
