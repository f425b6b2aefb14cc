"""Credentials that a cloud issues: tokens for a key or an identity, which expire and are renewed.

An `Exchange` is a value: equal ones bring the same token, so one is kept for all Registries that share it. It is made
from a Secret or a workload identity; `issue` is its only I/O.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

from pullgate.providers.credentials import Credentials

Result = TypeVar("Result")

THREADS: Final = 8
LONGEST_WAIT: Final = 3600.0
"""Longest Retry-After that is honoured, in seconds."""
CALL_SECONDS: Final = 30.0
"""How long one call of a cloud's library may take; its own timeouts should be shorter."""


class CredentialsInvalid(ValueError):
    """A Secret or an identity from which no credentials can be made. Neither text holds a secret."""

    def __init__(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        super().__init__(f"{message}; {fix}")


REASONS: Final[Mapping[str, str]] = {
    "KeysRejected": "the provider does not take the keys: wrong, revoked, or over",
    "IdentityRejected": "the provider does not trust the identity that was shown",
    "IdentityMissing": "there is no identity to show here",
    "PermissionMissing": "the provider knows the identity and does not give it a token",
    "ClockWrong": "the provider says that the clock is wrong here",
    "ExchangeLimited": "the provider limits how often a token is asked for",
    "ExchangeUnreachable": "no connection to where the tokens are given",
    "ExchangeError": "the provider failed, or answered what cannot be read",
    "ExtraMissing": "the provider's library is not installed",
}
"""Why there is no token: the reason of CredentialsAvailable, and what it says of all providers."""


class ExchangeFailed(Exception):
    """No token was given. `reason` is one of REASONS; message and fix name the cause and the next step, no secret."""

    def __init__(self, reason: str, message: str, fix: str, *, retry_after: float | None = None) -> None:
        if reason not in REASONS:
            raise KeyError(reason)
        self.reason, self.message, self.fix = reason, message, fix
        self.retry_after = retry_after
        """Seconds, if the provider named a wait."""
        super().__init__(f"{message}; {fix}")


@dataclass(frozen=True, slots=True)
class Issued:
    """A token as the registry's user and password, which expire at `credentials.expires_at`."""

    credentials: Credentials
    kind: str
    """The token's kind, for status.credentials.kind: ECRToken, GoogleAccessToken, ACRRefreshToken, GitHubAppToken …"""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; a field of several lines is joined (RFC 9110, section 5.3)."""
    body: bytes = field(repr=False)

    @property
    def retry_after(self) -> float | None:
        """Seconds that Retry-After names, at most an hour; None if it names none (a date is not read)."""
        text = self.headers.get("retry-after", "").strip()
        return min(float(text[:9]), LONGEST_WAIT) if text.isascii() and text.isdigit() else None


class Http(Protocol):
    """Guarded HTTP: no redirects, bounded, https unless the Registry is plain HTTP."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | bytes | None = None
    ) -> Reply:
        """The reply, with any status. Raises ExchangeFailed (ExchangeUnreachable) if there is none.

        `body` is a form, or bytes whose Content-Type `headers` name.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """The I/O and the clock that an exchange may use."""

    http: Http
    now: Callable[[], datetime]
    service_account_token: Callable[[str, str, str], Awaitable[str]]
    """Namespace, ServiceAccount, audience -> a token of Kubernetes. Raises ExchangeFailed."""


class Exchange(Protocol):
    """A frozen dataclass whose fields are all that the token depends on; secrets among them have repr=False."""

    @property
    def source(self) -> str:
        """Its name for people, without a secret: "access key AKIA…"."""
        ...

    @property
    def kind(self) -> str:
        """The kind of its token: a key of `destination.DESTINATIONS`, which names the hosts that may see it."""
        ...

    async def issue(self, tools: Tools) -> Issued:
        """A fresh token. Raises ExchangeFailed."""
        ...


def fingerprint(exchange: Exchange) -> str:
    """A digest, the same for equal exchanges in every process; it reveals nothing of their fields."""
    fields = [f for f in dataclasses.fields(exchange) if f.compare]  # type: ignore[arg-type]
    values = {f.name: getattr(exchange, f.name) for f in fields}
    text = json.dumps([type(exchange).__name__, values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_LIBRARIES: Final = {"aws": "botocore", "azure": "azure-identity", "gcp": "google-auth"}
"""Extra -> library."""


def load_extra(module: str, extra: str) -> Any:
    """The module of a cloud's library. Raises ExchangeFailed if it is not installed."""
    # These libraries may log what they sent; the condition reports what people need.
    logging.getLogger(module.partition(".")[0]).setLevel(logging.CRITICAL)
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ExchangeFailed(
            "ExtraMissing",
            f"the library {_LIBRARIES[extra]} is not installed",
            f"install pullgate[{extra}], or use Pullgate's image, which has it",
        ) from None


async def run_blocking(call: Callable[[], Result]) -> Result:
    """Run a cloud's library in a thread of its own pool. Raises the library's errors; ExchangeFailed if it hangs."""
    future = asyncio.get_running_loop().run_in_executor(_threads(), call)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await future
    except TimeoutError:
        raise ExchangeFailed(
            "ExchangeUnreachable", f"no token in {CALL_SECONDS:g} s", "check egress; it is tried again"
        ) from None


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="exchange")
