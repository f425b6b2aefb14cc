"""The facts of one registry type: `pullgate.providers.types` has a row for each. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import Exchange, Http
from pullgate.providers.guide import Guide
from pullgate.resources.registry import WorkloadIdentity


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One way to write an Opaque Secret: the key of the user (or a fixed user) and that of the password."""

    user_key: str | None
    password_key: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """Keys of an Opaque Secret that must be exchanged for a token first."""

    keys: tuple[str, ...]
    make: Callable[[Mapping[str, str], str], Exchange]
    """From all texts of the Secret and the registry's host. Raises CredentialsInvalid."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The Registry that uses a workload identity."""

    namespace: str
    name: str
    host: str


@dataclass(frozen=True, slots=True)
class IdentityWay:
    """How a workload identity of one cloud becomes a token."""

    cloud: str
    """aws, gcp or azure: the field of spec.credentials.workloadIdentity."""
    make: Callable[[WorkloadIdentity, Subject], Exchange]
    """Raises CredentialsInvalid."""


Suspect = Callable[[str, str, str], str | None]
"""User name, password, the registry's host -> the mistake in their form, and the fix; None if they look right."""

AskEnd = Callable[[Credentials, Http, str], Awaitable[datetime | None]]
"""Credentials, HTTP, the registry's host -> their end. Raises nothing."""

PASSWORD = KeyPair("username", "password")
TOKEN = KeyPair("username", "token")
LOGINS = (PASSWORD, TOKEN)


@dataclass(frozen=True, slots=True)
class Provider:
    """One registry type."""

    guide: Guide
    ways: tuple[KeyPair | KeyExchange, ...] = LOGINS
    """The forms of an Opaque Secret; the first whose keys are all present applies."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """Reason of a fault -> the vendor's next step here; {username} and {repository} are filled in."""
    suspect: Suspect | None = None
    identity: IdentityWay | None = None
    quota: tuple[str, str] | None = None
    """Repository and tag whose HEAD reports the rest of the rate limit, if the ping does not."""
    ask_end: AskEnd | None = None
    """Asks the provider when static credentials end; None if it cannot be known."""

    @property
    def type(self) -> str:
        """Its name in spec.type."""
        return self.guide.type
