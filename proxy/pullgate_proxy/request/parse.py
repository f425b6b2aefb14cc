"""Method and raw path -> PullRequest, or a fault. Pure.

The raw, undecoded path is matched against the distribution-spec's grammar: an escape (%2e, %2f), an empty or a dot
segment matches nothing, so that proxy and upstream can never read one path differently.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote_plus

from pullgate.faults import DigestInvalid, PathInvalid, ReadOnly, ReferenceInvalid
from pullgate.oci.digest import is_digest
from pullgate.oci.reference import is_repository, is_tag

PATH_LIMIT = 1024
FIELD_LIMIT = 16
QUERY_LIMIT = 4096
"""Characters of a query, which may hold another registry's cursor."""
LIST_LIMIT = 1000
"""The most entries that a list is asked for (CVE-2023-2253: an unbounded n exhausts a registry)."""

_END = re.compile(r"/v2/(?P<name>[^?#]+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)\Z")
_UPLOAD = re.compile(r"/v2/[^?#]+/blobs/uploads/[^/]*\Z")
_QUERY = re.compile(r"[!\"$-;=?-~]*\Z")
"""Printable ASCII without space, #, < and >: a fragment's sign, and those that end a link."""
_NS = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?\Z")


class Kind(StrEnum):
    """The kind of a request."""

    PING = "ping"
    TOKEN = "token"  # noqa: S105 - the endpoint's name
    MANIFESTS = "manifests"
    BLOBS = "blobs"
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One request of a client, taken apart."""

    method: str
    kind: Kind
    repository: str = ""
    """As the client wrote it: the whole name between /v2/ and /manifests/ …"""
    reference: str = ""
    """Tag or digest of a manifest, digest of a blob or subject, "list" for tags."""
    query: str = ""
    """A list's own parameters as they were sent, in their encoding, without `ns` and with n capped."""
    ns: str | None = None
    """The registry that the client believes it talks to (containerd's mirrors)."""

    @property
    def by_digest(self) -> bool:
        """True if the reference is a digest."""
        return ":" in self.reference


# The same few paths are asked again and again; a fault is not remembered.
@lru_cache(maxsize=2048)
def parse_request(method: str, raw_path: str) -> PullRequest:
    """Take `raw_path` (path and query as on the wire) apart.

    Raises PathInvalid, ReferenceInvalid, DigestInvalid, ReadOnly.
    """
    path, _, raw_query = raw_path.partition("?")
    if path == "/token":
        return PullRequest(method, Kind.TOKEN)
    if len(path) > PATH_LIMIT or len(raw_query) > QUERY_LIMIT:
        raise PathInvalid("the path is too long")
    if not (path == "/v2" or path.startswith("/v2/")):
        raise PathInvalid
    if method not in {"GET", "HEAD"}:
        raise ReadOnly
    if path in {"/v2/", "/v2"}:
        return PullRequest(method, Kind.PING)
    if _UPLOAD.match(path):
        raise ReadOnly
    return _parse_pull(method, path, raw_query)


def _parse_pull(method: str, path: str, raw_query: str) -> PullRequest:
    match = _END.match(path)
    if match is None:
        raise PathInvalid
    kind, reference = Kind(match["kind"]), match["reference"]
    if not is_repository(match["name"]):
        raise PathInvalid("the repository name breaks the grammar of image names")
    _check_reference(kind, reference)
    query, ns = _parse_query(raw_query, lists=kind in {Kind.TAGS, Kind.REFERRERS})
    return PullRequest(method, kind, match["name"], reference, query, ns)


def _check_reference(kind: Kind, reference: str) -> None:
    if kind is Kind.TAGS:
        if reference != "list":
            raise PathInvalid
    elif kind is Kind.MANIFESTS and ":" not in reference:
        if not is_tag(reference):
            raise ReferenceInvalid
    elif not is_digest(reference):
        raise DigestInvalid


def _parse_query(raw_query: str, *, lists: bool) -> tuple[str, str | None]:
    """(what a list forwards, ns). A cursor is the upstream's own: it goes there in the encoding that it came in."""
    if not raw_query:
        return "", None
    if lists and not _QUERY.match(raw_query):
        raise PathInvalid("the query holds a character that must be encoded")
    fields = raw_query.split("&")
    if len(fields) > FIELD_LIMIT:
        raise PathInvalid("the query has too many fields")
    kept: list[str] = []
    ns: str | None = None
    for field in fields:
        raw_name, _, raw_value = field.partition("=")
        name, value = unquote_plus(raw_name), unquote_plus(raw_value)
        if name == "ns":
            ns = value.lower() if _NS.match(value) else ns
        elif name == "n":
            kept += [f"n={cap_count(value)}"] if value else []
        elif field:
            kept.append(field)
    return "&".join(kept) if lists else "", ns


def cap_count(value: str) -> str:
    """A list's `n` as a number from 0 to LIST_LIMIT; raises PathInvalid on anything else."""
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise PathInvalid("n is not a number")
    return str(min(int(value), LIST_LIMIT))
