"""What an upstream is shown: a user and a password, whatever exchange they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user and password of an upstream. Where a Registry is anonymous there is None instead."""

    username: str
    password: str = field(repr=False)
    expires_at: datetime | None = None
    """When the upstream stops taking them; None where they have no end of their own."""
