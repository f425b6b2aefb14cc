"""HTTP/1.1 requests out of shape: a seed of the corpus, changed where parsers and proxies have been found to differ."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
LONGEST: Final = 70_000
"""Bytes of one mutated part; aiohttp takes fields of 8 KiB."""

Mutation = Callable[[random.Random, bytes], bytes]

_ODD: Final = [
    b"\x00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\x7f",
    b"\xff\xfe",
    b"%00",
    b"%2f",
    b"%2e%2e",
    b"..",
    b"//",
    b"\\",
    b"?",
    b"#",
    b"'",
    b'"',
    b"<",
    b"${jndi:ldap://x}",
    b"\xc0\xaf",
    b"sha256:",
    b"@",
    b":",
    b";",
    b",",
    b"0x10",
    b"-1",
    b"18446744073709551616",
]
_HEADERS: Final = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Content-Length: 5",
    b"Content-Length: +5",
    b"Content-Length: 5,5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Host: evil.example",
    b"Host: ",
    b"X-Forwarded-Host: evil.example",
    b"X-Forwarded-For: ::1",
    b"X-Forwarded-Proto: gopher",
    b"Connection: close",
    b"Connection: keep-alive, Authorization",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"Range: bytes=0-",
    b"Range: bytes=" + b"0-0," * 2000,
    b"Range: bytes=-0",
    b"Range: lines=1-2",
    b"Accept: " + b"a/b," * 3000,
    b"Cookie: a=b",
    b"Authorization: Basic !!!",
    b"Authorization: Basic " + b"QTpC" * 3000,
    b"Authorization: Negotiate x",
    b"Authorization: Bearer a.b.c",
    b"X-Request-Id: \x1b[31m",
    b"Cache-Control: no-cache",
    b"If-None-Match: *",
    b"Content-Encoding: gzip",
    b": empty",
    b"NoColon",
]


_METHODS: Final = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"PRI", b"get", b"G E T", b"\x16\x03\x01"]


def corpus() -> list[bytes]:
    """The seeds, with line ends as HTTP has them; {host}, {login} and {blob} are filled in by who sends them."""
    found = sorted(CORPUS.glob("*.http"))
    return [path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in found]


def mutate(rng: random.Random, seed: bytes) -> bytes:
    """`seed` with up to four changes. One in ten stays unchanged, so that valid requests are tested, too."""
    if rng.random() < 0.1:
        return seed
    for _ in range(rng.randint(1, 4)):
        seed = rng.choice(_MUTATIONS)(rng, seed)
    return seed[: 4 * LONGEST]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(_ODD) + data[at:]


def _flip(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    if not data:
        return data
    begin = rng.randrange(len(data))
    part = data[begin : begin + rng.randint(1, 30)]
    return data[:begin] + part * rng.choice((2, 3, 50, 2000)) + data[begin:]


def _add_header(rng: random.Random, data: bytes) -> bytes:
    line, _, rest = data.partition(b"\r\n")
    return line + b"\r\n" + rng.choice(_HEADERS) + b"\r\n" + rest


def _drop_line(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    del lines[rng.randrange(len(lines))]
    return b"\r\n".join(lines)


def _method(rng: random.Random, data: bytes) -> bytes:
    verb = rng.choice(
        (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"PRI", b"get", b"G E T", b"\x16\x03\x01")
    )
    return verb + b" " + data.partition(b" ")[2]


def _long_path(rng: random.Random, data: bytes) -> bytes:
    verb, _, rest = data.partition(b" ")
    path, _, tail = rest.partition(b" ")
    return verb + b" " + path + rng.choice((b"/a", b"a", b"?a=", b"%41")) * rng.choice((10, 300, 9000)) + b" " + tail


def _bare_lf(rng: random.Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n", rng.randint(1, 5))


def _chunks(rng: random.Random, data: bytes) -> bytes:
    sizes = (b"5", b"-5", b"0x5", b"5;a=b", b"FFFFFFFFFFFFFFFF", b"5 ", b"\t5", b"5\r", b"g", b"", b"00000000005")
    head = data.partition(b"\r\n\r\n")[0]
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + rng.choice(sizes) + b"\r\nabcde\r\n0\r\n\r\n"


_MUTATIONS: Final[list[Mutation]] = [
    _insert,
    _insert,
    _flip,
    _flip,
    _cut,
    _repeat,
    _add_header,
    _add_header,
    _add_header,
    _drop_line,
    _method,
    _long_path,
    _bare_lf,
    _chunks,
]
