"""Clients that read a body and throw it away in the kernel (MSG_TRUNC, tcp(7)), so that they cost next to nothing.

`python -m benchmarks.drain URL AUTHORIZATION COUNT` prints JSON: bytes, seconds, and when the first byte of each came.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

AT_ONCE = 8 * 1024 * 1024


@dataclass(slots=True)
class Client:
    """One connection."""

    sock: socket.socket
    head: bytearray = field(default_factory=bytearray)
    left: int = -1
    """Bytes of the body that are still to come; -1 before the header is in."""
    asked: float = 0.0
    """When its request was sent."""
    first_byte: float = 0.0
    """Seconds after that."""
    got: int = 0


def drain(url: str, authorization: str, count: int) -> dict[str, object]:
    """`count` clients at once, each one GET."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"Authorization: {authorization}"] if authorization else []
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    buffer = bytearray(AT_ONCE)
    selector = selectors.DefaultSelector()
    clients = []
    for _ in range(count):
        sock = socket.create_connection((parts.hostname, parts.port))
        clients.append(Client(sock))
    began = time.monotonic()
    for client in clients:
        client.asked = time.monotonic()
        client.sock.sendall(request)
        client.sock.setblocking(False)
        selector.register(client.sock, selectors.EVENT_READ, client)
    running = count
    while running:
        # Clients that wait for a first byte go before those that take long to read.
        for key, _ in sorted(selector.select(), key=lambda found: found[0].data.got > 0):
            if _read(key.data, buffer):
                selector.unregister(key.data.sock)
                key.data.sock.close()
                running -= 1
    seconds = time.monotonic() - began
    firsts = sorted(client.first_byte for client in clients)
    return {"bytes": sum(client.got for client in clients), "seconds": seconds, "first_bytes": firsts}


def _read(client: Client, buffer: bytearray) -> bool:
    """True if the body is complete. SystemExit where it is none."""
    if client.left < 0:
        client.head += client.sock.recv(64 * 1024)
        head, end, body = client.head.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"refused: {bytes(head[:300])!r}")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        client.left = int(lengths[0].partition(b":")[2]) - len(body)
        client.got = len(body)
    else:
        count = client.sock.recv_into(buffer, AT_ONCE, socket.MSG_TRUNC)
        if not count:
            raise SystemExit("a body broke off")
        client.got += count
        client.left -= count
    if client.got and not client.first_byte:
        client.first_byte = time.monotonic() - client.asked
    return client.left <= 0


if __name__ == "__main__":
    print(json.dumps(drain(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
