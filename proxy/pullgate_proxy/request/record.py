"""The record of one request: filled in on its way, read by the log, the metrics and the counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from pullgate.shares import Holders


@dataclass(slots=True)
class Record:
    """The log record of one request. Filled in on the way; never contains a key, a token or a header."""

    request_id: str = ""
    client: str = ""
    method: str = ""
    kind: str = ""
    host: str = ""
    app: str = ""
    license: str = ""
    key: str = ""
    """The key's id, as the License's status names it."""
    registry: str = ""
    repository: str = ""
    reference: str = ""
    status: int = 0
    reason: str = "Ok"
    message: str = ""
    bytes: int = 0
    cache: str = "off"
    aborted: bool = False
    pull: bool = False
    """True if the client got an image's manifest, which counts as a pull."""
    duration: float = field(default=0.0)
    """Seconds."""
    test: bool = False
    """True if the request has a test mark of its License: it is counted apart."""
    limit: str = ""
    """The customer's limit that is used up, for the answer to a test. The log leaves it out."""
    holders: Holders = ()
    """In whose name the request is open; nobody's until it is authorized. Never logged."""
