"""The proxy's own bearer tokens: HS256 (RFC 7515, RFC 7519), five minutes.

A token says one thing: its bearer showed the license key with this SHA-256. It names no scope and grants nothing;
each request looks the key up again, so that a token never outlives a rotation, a suspension or a deletion.
The signing keys are a Secret that all replicas share; a new one signs, the older ones still verify until they end.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import jwt
from jwt.exceptions import PyJWTError

from pullgate.faults import CredentialsMissing, TokenExpired
from pullgate.licensing.claims import SIGNATURE_ALONE
from pullgate.licensing.marks import derive_mark_key, is_mark_of, mark_key_id

LIFETIME = 300
"""Seconds. Never under 60: docker takes a shorter one for a mistake (distribution, token specification)."""

TICKET_SECONDS = 60
"""Lifetime of the ticket of a replica's request; the clocks of two replicas may differ by less."""

_ISSUER = "pullgate"
_TICKETS = "pullgate-peer"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One HS256 key."""

    id: str
    secret: bytes = field(repr=False)
    not_after: float
    """Unix time after which it verifies nothing."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """All keys that verify; the first one signs."""

    keys: tuple[SigningKey, ...] = ()

    def issue(self, key_digest: bytes, now: float) -> str:
        """A token for the license key with this SHA-256. Raises CredentialsMissing while there is no signing key."""
        if not self.keys:
            raise CredentialsMissing("of the proxy itself")
        first = self.keys[0]
        claims = {"iss": _ISSUER, "exp": int(now) + LIFETIME, "key": _encode(key_digest)}
        return jwt.encode(claims, first.secret, algorithm="HS256", headers={"kid": first.id})

    def verify(self, token: str, now: float) -> tuple[bytes, float]:
        """The SHA-256 of the license key that `token` was issued for, and the token's end (Unix time).

        Raises TokenExpired for whatever is wrong.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            secret, not_after = next((k.secret, k.not_after) for k in self.keys if k.id == kid and now < k.not_after)
            claims = jwt.decode(token, secret, algorithms=["HS256"], options=SIGNATURE_ALONE)
            if claims["exp"] <= now or claims["iss"] != _ISSUER:
                raise TokenExpired
            return _decode(claims["key"]), min(float(claims["exp"]), not_after)
        except (PyJWTError, StopIteration, KeyError, TypeError, ValueError, RecursionError) as error:
            raise TokenExpired from error

    def issue_ticket(self, subject: str, now: float) -> str:
        """One replica's word to another that it may have `subject`. Raises CredentialsMissing without a key."""
        if not self.keys:
            raise CredentialsMissing("of the proxy itself")
        first = self.keys[0]
        claims = {"iss": _TICKETS, "exp": int(now) + TICKET_SECONDS, "sub": subject}
        return jwt.encode(claims, first.secret, algorithm="HS256", headers={"kid": first.id})

    def verifies_ticket(self, ticket: str, subject: str, now: float) -> bool:
        """True if a replica issued `ticket` for `subject`, and it has not expired."""
        try:
            kid = jwt.get_unverified_header(ticket).get("kid")
            secret = next(k.secret for k in self.keys if k.id == kid and now < k.not_after)
            claims = jwt.decode(ticket, secret, algorithms=["HS256"], options=SIGNATURE_ALONE)
            return bool(claims["exp"] > now and claims["iss"] == _TICKETS and claims["sub"] == subject)
        except (PyJWTError, StopIteration, KeyError, TypeError, ValueError, RecursionError):
            return False

    def verifies_mark(self, mark: str, namespace: str, license_: str, now: float) -> bool:
        """True if `mark` is a test mark of this very License; see `licensing.marks`."""
        kid = mark_key_id(mark)
        key = next((k for k in self.keys if k.id == kid and now < k.not_after), None)
        if key is None:
            return False
        return is_mark_of(mark, derive_mark_key(key.id, key.secret, namespace), namespace, license_, now)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
