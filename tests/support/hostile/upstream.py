"""The servers of a hostile app: a registry that answers in every harmful way, one that hangs, and one that listens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from pullgate.oci.manifest import MANIFEST_LIMIT
from tests.support.content import Bytes, Endless, Noise, digest_of
from tests.support.images import OCI_INDEX, OCI_MANIFEST, image
from tests.support.upstreams import faults
from tests.support.upstreams.scripted import Fault
from tests.support.upstreams.scripted_registry import ScriptedRegistry, document
from tests.support.upstreams.wire import Reply, Request

TAGS = 170_000
"""About as many as a page of 4 MiB holds."""
CHILDREN = 9_000
SLOW = tuple(digest_of(f"slow {number}".encode()) for number in range(8))
"""Blobs that never come."""
FOREIGN = b"x"
"""The only byte in the bodies of blobs of this server: any other is of somebody else."""

PRIVATE = {
    "metadata": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "metadata-6": "http://[fd00:ec2::254]/latest/meta-data/",
    "mapped": "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "decimal": "http://2852039166/latest/meta-data/",
    "api-server": "https://10.96.0.1/api/v1/secrets",
    "pod": "http://10.0.0.7:8081/metrics",
}
"""Redirects into networks that the administrator did not allow."""

BOMBS = {
    "lists": "[" + "[]," * 500_000 + "0]",
    "deep": "[" + ",".join("[" * 60 + "]" * 60 for _ in range(10_000)) + "]",
    "fields": "{" + ",".join(f'"{number}": 1' for number in range(100_000)) + "}",
    "numbers": "[" + ",".join(["1" * 4000] * 900) + "]",
}


class HostileRegistry(ScriptedRegistry):
    """Anonymous; the repository's first segment says how it does harm."""

    def __init__(self, blobs: Mapping[str, int]) -> None:
        """`blobs`: digest -> size of the good app's blobs."""
        super().__init__()
        for repository in ("slow/api", "steal/api", "drip/api"):
            self.add(repository, "1", image(repository))
        for digest in SLOW:
            self._repositories["slow/api"].blobs[digest] = Noise("slow", 1 << 20)
        for digest, size in blobs.items():
            self._repositories["steal/api"].blobs[digest] = Bytes(FOREIGN * size)
        self.on("GET", "^/v2/slow/api/blobs/", faults.hang_after(10))
        self.on("GET", "^/v2/steal/api/blobs/.*[0-7]$", faults.refuse(404, "BLOB_UNKNOWN"))
        self.on("GET", "^/v2/steal/api/blobs/", faults.trickle(1, 0.2))
        self.on("GET", "^/v2/drip/api/manifests/", manifest(b"{" + b" " * (MANIFEST_LIMIT - 1)), faults.trickle(1, 0.2))
        for name, location in PRIVATE.items():
            self.on("GET|HEAD", f"^/v2/private/{name}/", faults.redirect(location))
        self._serve_bodies()
        self._serve_odd_answers()

    def _serve_bodies(self) -> None:
        """Documents that are large, or cost their reader much."""
        tags = json.dumps({"name": "tags/api", "tags": [f"1.{n}.{n % 7}" for n in range(TAGS)]}).encode()
        self.on("GET", "^/v2/tags/api/tags/list", faults.answer(200, tags, {"Content-Type": "application/json"}))
        self.on("GET|HEAD", "^/v2/large/api/manifests/", _of_tag(_index([], "y" * (MANIFEST_LIMIT - 400))))
        child = {"mediaType": OCI_MANIFEST, "size": 7}
        children = [{**child, "digest": digest_of(str(number).encode())} for number in range(CHILDREN)]
        self.on("GET|HEAD", "^/v2/children/api/manifests/", _of_tag(_index(children, "")))
        for name, body in BOMBS.items():
            text = f'{{"schemaVersion": 2, "manifests": {body}}}'.encode()
            self.on("GET|HEAD", f"^/v2/bomb/{name}/manifests/", manifest(text))
            listed = f'{{"name": "bomb/{name}", "tags": {body}}}'.encode()
            self.on("GET", f"^/v2/bomb/{name}/tags/list", faults.answer(200, listed))

    def _serve_odd_answers(self) -> None:
        """Answers that are no manifest, or have no end."""
        page = b"<html><body>Please log in</body></html>"
        self.on("GET|HEAD", "^/v2/odd/html/", faults.answer(200, page, {"Content-Type": "text/html"}))
        self.on("GET|HEAD", "^/v2/odd/empty/", manifest(b"{}"))
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        self.on("GET|HEAD", "^/v2/odd/interim/", endless_head(interim, interim * 100, 0.0))
        self.on("GET|HEAD", "^/v2/odd/head/", endless_head(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.2))


def manifest(body: bytes) -> Fault:
    """This body as an index, whatever it is."""
    return faults.answer(200, body, {"Content-Type": OCI_INDEX, "Docker-Content-Digest": digest_of(body)})


def endless_head(begin: bytes, again: bytes, pause: float) -> Fault:
    """A head that begins so and goes on for ever, with `pause` seconds in between; also to a HEAD."""
    length = (("Content-Length", "1"),)  # else the pieces would go out as chunks
    reply = Reply(200, length, Endless(again), head=begin, pause=pause)
    return lambda request, right: reply


def _of_tag(body: bytes) -> Fault:
    """The body, a little different for each reference: no answer is one that was kept."""

    def answer(request: Request, right: Reply) -> Reply:
        own = body.replace(b"TAG", request.path.rpartition("/")[2][-12:].encode(), 1)
        return manifest(own)(request, right)

    return answer


def _index(manifests: list[dict[str, object]], filling: str) -> bytes:
    annotations = {"tag": "TAG", "filling": filling}
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, "annotations": annotations}
    return json.dumps(value).encode()


class HangingRegistry(ScriptedRegistry):
    """Takes each connection and request, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.on(".*", "", faults.hang())


class ListeningRegistry(ScriptedRegistry):
    """Asks everybody for credentials, by Basic and by Bearer with a token server of its own, and notes what comes."""

    def answer(self, request: Request) -> Reply:
        """See ScriptedServer."""
        refused = document({"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]}, status=401)
        bearer = f'Bearer realm="{self.url}/token",service="registry",scope="repository:a/b:pull"'
        return replace(
            refused, headers=(*refused.headers, ("WWW-Authenticate", bearer), ("WWW-Authenticate", "Basic realm=r"))
        )
