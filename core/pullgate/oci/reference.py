"""Image references, by distribution's reference grammar and docker's normalization.

No package parses these rightly (a trailing newline, a digest's form), so this small parser is ours.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from pullgate.oci.digest import is_digest

_SEGMENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?\Z")

REPOSITORY_LIMIT = 255
DEFAULT_HOST = "docker.io"


class InvalidReference(ValueError):
    """A text that is no image reference; the message names what is wrong and never holds a line break."""


@dataclass(frozen=True, slots=True)
class Reference:
    """host/repository[:tag][@digest], normalized."""

    host: str
    """host[:port], lower case."""
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"

    @property
    def target(self) -> str:
        """The reference in a request for the manifest: the digest, else the tag, else latest."""
        return self.digest or self.tag or "latest"


def is_tag(text: str) -> bool:
    """distribution-spec, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`."""
    return _TAG.match(text) is not None


def is_repository(text: str) -> bool:
    """distribution-spec, "Pulling manifests": the grammar of `<name>`, at most 255 characters."""
    return len(text) <= REPOSITORY_LIMIT and _REPOSITORY.match(text) is not None


def is_host(text: str) -> bool:
    """host[:port] as a reference may name it; an IPv6 address stands in brackets."""
    if len(text) > REPOSITORY_LIMIT or _HOST.match(text) is None:
        return False
    return not text.startswith("[") or is_ipv6(text[1:].partition("]")[0])


def is_ipv6(text: str) -> bool:
    """True if `text`, without brackets, is an IPv6 address (RFC 4291, section 2.2) without a zone."""
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def parse_reference(text: str) -> Reference:
    """Take `text` apart as docker does: no host means docker.io, and one segment there means library/.

    Raises InvalidReference.
    """
    if not text or len(text) > 1024:
        raise InvalidReference("an image reference has 1 to 1024 characters")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidReference("an image reference has no space and no character outside ASCII")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidReference(f"{digest or 'nothing'} after @ is no digest: sha256: and 64 lower-case hex digits")
    host, rest = _split_host(rest)
    repository, colon, tag = rest.partition(":")
    if colon and not is_tag(tag):
        raise InvalidReference(f"{tag or 'nothing'} after : is no tag")
    if host == DEFAULT_HOST and "/" not in repository:
        repository = f"library/{repository}"
    if not is_repository(repository):
        raise InvalidReference(f"{repository or 'nothing'} is no repository name: lower-case words joined by / . _ -")
    return Reference(host, repository, tag or None, digest or None)


def _split_host(rest: str) -> tuple[str, str]:
    """The first segment is a host if it has a dot or a port, or is localhost.

    docker takes one in upper case for a host, too; in lower case, as hosts are written here, it would be none.
    """
    first, slash, remainder = rest.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return DEFAULT_HOST, rest
    if not is_host(first):
        raise InvalidReference(f"{first} is no host name")
    host = first.lower()
    return (DEFAULT_HOST if host == "index.docker.io" else host), remainder
