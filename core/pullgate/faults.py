"""Every way a pull can fail, in one table, so that the reader of an error knows whose move it is.

A fault is one class: its name is the *reason*, the same word in conditions, events, metrics, logs and test results.
The class fixes who must act, the HTTP status and the OCI error code (distribution-spec, "Error Codes"); the instance
holds a message that states what is, and a hint that states the next step. The proxy, the operator and the command line
read this one table.

Messages are made of text that a person may see: printable characters of any language, at most 200 of them (what docker
and skopeo can carry), and never hold a credential. JSON and terminals get them whole; `ascii_text` makes of one what a
header and a reason phrase can carry.
"""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar, Self

MESSAGE_LIMIT = 200
"""Characters of a message, and of message and hint together where both are sent."""

_QUOTING = str.maketrans(dict.fromkeys('"\\`', " "))
_JOINERS = "\u200c\u200d"
"""Persian, Hindi and emoji are written with them."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"


class Actor(StrEnum):
    """The party that must act."""

    CUSTOMER = "customer"
    VENDOR = "vendor"
    UPSTREAM = "upstream"
    PROXY_OPERATOR = "operator of the proxy"
    NOBODY = "none"


def plain_text(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text` in one line, cut to `limit`, without control and bidi characters; all letters and quotes stay."""
    kept = "".join(c if c.isprintable() or c in _JOINERS else " " for c in text[: limit * 4])
    joined = " ".join(kept.split())
    return joined if len(joined) <= limit else joined[: limit - 3].rstrip() + "..."


def ascii_text(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`plain_text` in ASCII without quotes and backslashes: letters lose their accents, and what has no such form is ?.

    Safe as an HTTP reason phrase (RFC 9112, section 4) and inside a quoted string (RFC 9110, section 5.6.4).
    """
    return plain_text("".join(map(_in_ascii, plain_text(text, limit))).translate(_QUOTING), limit)


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character
    if character in _DASHES:
        return "-"
    decomposed = unicodedata.normalize("NFKD", character)
    kept = "".join(c for c in decomposed if c.isascii())
    return kept or ("" if unicodedata.combining(character) or character in _JOINERS else "?")


def day(moment: datetime) -> str:
    """The UTC date of `moment`, as YYYY-MM-DD."""
    return moment.astimezone(UTC).date().isoformat()


class Fault(Exception):
    """A pull that fails, by name. Raise a subclass; only they stand in `FAULTS`."""

    reason: ClassVar[str] = ""
    actors: ClassVar[tuple[Actor, ...]] = ()
    status: int = 500
    code: str = "UNKNOWN"
    default_hint: ClassVar[str] = ""
    said: str = ""
    """The upstream's own sentence, for the vendor and the log. It is never sent to a customer."""
    step: str = ""
    """The vendor's next step, if this fault knows it better than the hints of its reason."""
    cause: str = ""
    """The exhausted resource, if the proxy itself has no room; used as the metric label."""
    no_connection: bool = False
    """True if no connection to the server came about: refused, no route, no name, or not in time."""
    elsewhere: bool = False
    """True if it speaks of a server that the upstream redirected to, and not of the upstream itself."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        self.message = plain_text(message)
        self.hint = plain_text(self.default_hint if hint is None else hint)
        self.retry_after = retry_after
        """Seconds until a new try makes sense; sent as Retry-After, rounded up."""
        super().__init__(self.message)

    def __init_subclass__(cls) -> None:
        cls.reason = cls.__name__
        if not cls.__name__.startswith("_"):
            FAULTS[cls.reason] = cls

    def quote(self, said: str) -> Self:
        """This fault with the upstream's own sentence; `said` is cleaned."""
        self.said = said
        return self

    @property
    def for_vendor(self) -> str:
        """The message, and the upstream's own sentence if there is one."""
        return f"{self.message}; it says: {self.said}" if self.said else self.message

    def turn_into_login_refusal(self) -> None:
        """Make a 403 the 401 of a failed login: at the token endpoint clients print the body of a 401, not of a 403."""
        if self.status == 403:
            self.status, self.code = 401, "UNAUTHORIZED"

    @property
    def sentence(self) -> str:
        """Message and hint in one line of at most `MESSAGE_LIMIT` characters; the hint goes when both do not fit."""
        whole = f"{self.message}; {self.hint}" if self.hint else self.message
        return whole if len(whole) <= MESSAGE_LIMIT else self.message


FAULTS: dict[str, type[Fault]] = {}
"""Reason -> class: the whole table, in the order of design."""


def fault_in_words(reason: str, message: str, *, hint: str | None = None, retry_after: float | None = None) -> Fault:
    """The fault of `reason` with a message of its own, such as the one that a proxy sent. KeyError: no such reason."""
    kind = FAULTS[reason]
    fault = kind.__new__(kind)
    Fault.__init__(fault, message, hint=hint, retry_after=retry_after)
    return fault


def copy_of(fault: Fault) -> Fault:
    """A fault like `fault`, without its traceback: one that is raised again and again."""
    twin = fault_in_words(fault.reason, fault.message, hint=fault.hint, retry_after=fault.retry_after)
    twin.said, twin.step, twin.cause = fault.said, fault.step, fault.cause
    return twin


# --- who is asking -----------------------------------------------------------------------------------------------


class LoginRequired(Fault):
    """No credentials were sent."""

    actors = (Actor.CUSTOMER,)
    status = 401
    code = "UNAUTHORIZED"
    default_hint = "log in with your license key as the password"

    def __init__(self) -> None:
        super().__init__("no credentials were sent")


class KeyMalformed(Fault):
    """The password is no license key: the check digits tell a typing mistake from a wrong key."""

    actors = (Actor.CUSTOMER,)
    status = 401
    code = "UNAUTHORIZED"
    default_hint = "copy the whole key, from pgk_ to its last character"

    def __init__(self, *, looks_like_key: bool = True) -> None:
        what = "the license key's check digits are wrong: it was cut or mistyped"
        super().__init__(what if looks_like_key else "the password is not a license key: these begin with pgk_")


class KeyUnknown(Fault):
    """A well-formed key that no license has. 401 at a login, where its text is shown; 403 on a pull."""

    actors = (Actor.CUSTOMER,)
    status = 403
    code = "DENIED"
    default_hint = "ask the vendor for the current license key"

    def __init__(self) -> None:
        super().__init__("no license has this key")


class KeyRotated(Fault):
    """A key that was a license's own once."""

    actors = (Actor.CUSTOMER,)
    status = 403
    code = "DENIED"
    default_hint = "use the license's current key"

    def __init__(self, replaced_at: datetime) -> None:
        super().__init__(f"this license key was replaced on {day(replaced_at)}")


class KeyRevoked(Fault):
    """A key that the vendor ended: it leaked, or was given to the wrong people."""

    actors = (Actor.CUSTOMER, Actor.VENDOR)
    status = 403
    code = "DENIED"
    default_hint = "use the license's current key"

    def __init__(self, why: str = "", revoked_at: datetime | None = None) -> None:
        when = f" on {day(revoked_at)}" if revoked_at is not None else ""
        super().__init__(f"this license key was revoked{when}" + (f": {why}" if why else ""))


class LicenseExpired(Fault):
    """The license's end has passed."""

    actors = (Actor.CUSTOMER, Actor.VENDOR)
    status = 403
    code = "DENIED"
    default_hint = "renew it with the vendor"

    def __init__(self, license_name: str, expired_at: datetime) -> None:
        super().__init__(f"license {license_name} expired on {day(expired_at)}")


class LicenseNotYetValid(Fault):
    """The license's start lies ahead."""

    actors = (Actor.CUSTOMER, Actor.VENDOR)
    status = 403
    code = "DENIED"
    default_hint = "wait for that day or ask the vendor"

    def __init__(self, license_name: str, not_before: datetime) -> None:
        super().__init__(f"license {license_name} is not valid before {day(not_before)}")


class LicenseSuspended(Fault):
    """The vendor suspended the license."""

    actors = (Actor.CUSTOMER, Actor.VENDOR)
    status = 403
    code = "DENIED"
    default_hint = "settle it with the vendor"

    def __init__(self, license_name: str, why: str = "") -> None:
        super().__init__(f"license {license_name} is suspended" + (f": {why}" if why else ""))


class NotEntitled(Fault):
    """Not covered, or no such app, registry or domain: one text for all, so that nothing can be enumerated."""

    actors = (Actor.CUSTOMER,)
    status = 403
    code = "DENIED"
    default_hint = "check the image name or ask the vendor to add it"

    def __init__(self, license_name: str, path: str) -> None:
        super().__init__(f"license {license_name} does not cover {path}")


class ProofPending(Fault):
    """A tag rule stands, and the search for an allowed tag that leads to the digest reached a bound: no answer yet."""

    actors = (Actor.CUSTOMER, Actor.PROXY_OPERATOR)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "retry, or pull by tag"

    def __init__(self, license_name: str, path: str) -> None:
        super().__init__(f"the proxy could not prove yet that license {license_name} covers {path}", retry_after=5)


class LimitReached(Fault):
    """A limit of the license is used up, or the license asks too often."""

    actors = (Actor.CUSTOMER,)
    status = 429
    code = "TOOMANYREQUESTS"
    default_hint = "wait, or ask the vendor for a higher limit"

    def __init__(self, license_name: str, words: str, retry_after: float, hint: str | None = None) -> None:
        """`words` follow the license's name, such as "used its 500 pulls this hour"; `retry_after` in seconds."""
        super().__init__(f"license {license_name} {words}", hint=hint, retry_after=retry_after)


class TooManyTests(Fault):
    """Tests asked as often as a customer as they may. The customer's own limits are untouched."""

    actors = (Actor.VENDOR,)
    status = 429
    code = "TOOMANYREQUESTS"
    default_hint = "wait, or test fewer images or less often"

    def __init__(self, license_name: str, requests: int, retry_after: float) -> None:
        super().__init__(f"tests as license {license_name} made {requests} requests this hour", retry_after=retry_after)


class ShareReached(Fault):
    """A license, a Registry or an app uses its share of the proxy; the rest is for all others."""

    actors = (Actor.CUSTOMER, Actor.VENDOR)
    status = 429
    code = "TOOMANYREQUESTS"
    default_hint = "wait until some of them are done"

    def __init__(self, holder: str, held: int, cause: str) -> None:
        """`holder` ("license acme") has `held` units of the pool `cause`: requests, bodies."""
        what = "bytes of manifests, lists or forms on their way" if cause == "bodies" else f"{cause} open"
        super().__init__(f"{holder} has {held} {what}, which is its share", retry_after=2)


class TooManyAttempts(Fault):
    """Wrong license keys, one after the other, from one source. A right key from there is served all the same."""

    actors = (Actor.CUSTOMER,)
    status = 429
    code = "TOOMANYREQUESTS"
    default_hint = "look which client shows a wrong key; a right one is served"

    def __init__(self, attempts: int, retry_after: float) -> None:
        super().__init__(
            f"{attempts} attempts with a wrong license key came from your address; "
            f"try again in {max(1, math.ceil(retry_after))} s",
            retry_after=retry_after,
        )


class TokenExpired(Fault):
    """The proxy's own token is over; the client fetches a new one by itself."""

    actors = (Actor.NOBODY,)
    status = 401
    code = "UNAUTHORIZED"
    default_hint = "the client asks for a new one by itself"

    def __init__(self) -> None:
        super().__init__("the proxy's token is no longer valid")


# --- what is asked for -------------------------------------------------------------------------------------------


class PathInvalid(Fault):
    """The path is not one of the distribution-spec's, or its name breaks the grammar."""

    actors = (Actor.CUSTOMER,)
    status = 404
    code = "NAME_INVALID"
    default_hint = "an image reads HOST/proxy/APP/REGISTRY/REPOSITORY:TAG"

    def __init__(self, why: str = "this is no path of an image") -> None:
        super().__init__(why)


class ReferenceInvalid(Fault):
    """Neither a tag nor a digest."""

    actors = (Actor.CUSTOMER,)
    status = 400
    code = "MANIFEST_INVALID"
    default_hint = "a tag has at most 128 letters, digits, dots, dashes and underscores"

    def __init__(self) -> None:
        super().__init__("the reference is neither a tag nor a digest")


class DigestInvalid(Fault):
    """A digest that breaks its algorithm's form."""

    actors = (Actor.CUSTOMER,)
    status = 400
    code = "DIGEST_INVALID"
    default_hint = "a digest reads sha256: and 64 lower-case hexadecimal digits"

    def __init__(self) -> None:
        super().__init__("the digest has not the form of one")


class ReadOnly(Fault):
    """A push, a delete or any other method that writes."""

    actors = (Actor.CUSTOMER,)
    status = 405
    code = "UNSUPPORTED"
    default_hint = "push to the vendor's own registry"

    def __init__(self) -> None:
        super().__init__("this registry is for pulling only")


# --- the vendor's side -------------------------------------------------------------------------------------------


class RegistrySuspended(Fault):
    """The vendor paused the Registry."""

    actors = (Actor.VENDOR,)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "the vendor paused it; your license is fine"

    def __init__(self, registry: str) -> None:
        super().__init__(f"Registry {registry} is suspended")


class CredentialsMissing(Fault):
    """The Registry's credentials are not there, or cannot be read."""

    actors = (Actor.VENDOR,)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "the vendor must mend its credentials; your license is fine"

    def __init__(self, registry: str) -> None:
        super().__init__(f"Registry {registry} has no usable credentials yet")


class UpstreamUnauthorized(Fault):
    """The upstream rejects the vendor's credentials. Never 401: clients would log in again and again."""

    actors = (Actor.VENDOR,)
    status = 403
    code = "DENIED"
    default_hint = "your license is fine; tell the vendor"

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} rejected the vendor's credentials")


class UpstreamForbidden(Fault):
    """The vendor's credentials are right, but may not read this repository, or a policy refuses the request."""

    actors = (Actor.VENDOR,)
    status = 403
    code = "DENIED"
    default_hint = "your license is fine; tell the vendor"

    def __init__(self, host: str, repository: str, status: int = 403) -> None:
        """`status` is the upstream's answer; only 401 and 403 speak of the credentials."""
        if status in {401, 403}:
            super().__init__(f"the vendor's credentials may not read {repository} on {host}")
            return
        super().__init__(f"{host} refuses the request for {repository or 'it'}: it answered {status}")
        self.step = "see what the registry says: its policy, or a limit of its API, refuses this request"


class ManifestUnknown(Fault):
    """The upstream has no such tag or manifest."""

    actors = (Actor.VENDOR,)
    status = 404
    code = "MANIFEST_UNKNOWN"
    default_hint = "check the tag"

    def __init__(self, host: str, repository: str, reference: str) -> None:
        super().__init__(f"{repository}{'@' if ':' in reference else ':'}{reference} is not on {host}")


class BlobUnknown(Fault):
    """The upstream has no such blob."""

    actors = (Actor.VENDOR,)
    status = 404
    code = "BLOB_UNKNOWN"
    default_hint = "the image is incomplete there; tell the vendor"

    def __init__(self, host: str, repository: str, digest: str) -> None:
        super().__init__(f"{repository}@{digest} is not on {host}")


class RepositoryUnknown(Fault):
    """The upstream has no such repository."""

    actors = (Actor.VENDOR,)
    status = 404
    code = "NAME_UNKNOWN"
    default_hint = "check the image name"

    def __init__(self, host: str, repository: str) -> None:
        super().__init__(f"{repository} is not on {host}")


class UpstreamRateLimited(Fault):
    """The upstream limits the vendor's account."""

    actors = (Actor.VENDOR, Actor.NOBODY)
    status = 429
    code = "TOOMANYREQUESTS"
    default_hint = ""

    def __init__(self, host: str, retry_after: float | None = None, *, logins: bool = False) -> None:
        """`retry_after` only if the upstream named it. `logins`: its token server refuses them, not pulls."""
        what = "refuses logins to the vendor's account for now" if logins else "limits the vendor's account"
        wait = f"; retry in {max(1, round(retry_after))} s" if retry_after is not None else ""
        super().__init__(f"{host} {what}{wait}", retry_after=retry_after)
        if logins:
            self.step = (
                "too many logins came from this address, most often failed ones: check the user name and password, "
                "then wait (Docker Hub: about 15 minutes)"
            )


class UpstreamUnreachable(Fault):
    """Refused, reset, no route, or the name does not resolve."""

    actors = (Actor.VENDOR, Actor.UPSTREAM)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "your license is fine; retry later or tell the vendor"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host}: {why}")


class UpstreamTLS(Fault):
    """No trusted connection to the upstream."""

    actors = (Actor.VENDOR, Actor.UPSTREAM)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "your license is fine; tell the vendor"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host}: no trusted TLS connection: {why}")


class UpstreamTimeout(Fault):
    """No answer in time."""

    actors = (Actor.UPSTREAM,)
    status = 504
    code = "UNAVAILABLE"
    default_hint = "your license is fine; retry later"

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(f"no answer from {host} in {seconds:g} s")


class UpstreamError(Fault):
    """The upstream answered 5xx."""

    actors = (Actor.UPSTREAM,)
    status = 502
    code = "UNAVAILABLE"
    default_hint = "your license is fine; retry later"

    def __init__(self, host: str, status: int) -> None:
        super().__init__(f"{host} answered {status}")


class UpstreamProtocol(Fault):
    """The upstream's answer breaks HTTP or the distribution-spec, or a bound on it."""

    actors = (Actor.UPSTREAM,)
    status = 502
    code = "UNAVAILABLE"
    default_hint = "your license is fine; tell the vendor"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host} broke the registry protocol: {why}")


class DigestMismatch(Fault):
    """The bytes are not those that the digest names. Once a header is out, the connection is aborted instead."""

    actors = (Actor.UPSTREAM,)
    status = 502
    code = "UNAVAILABLE"
    default_hint = "do not use it; tell the vendor"

    def __init__(self, host: str, digest: str) -> None:
        super().__init__(f"{host} sent other bytes than {digest}")


class RealmRefused(Fault):
    """The upstream names a token server that may not see the vendor's credentials."""

    actors = (Actor.VENDOR,)
    status = 502
    code = "UNAVAILABLE"
    default_hint = "the vendor can list it in network.realmHosts"

    def __init__(self, host: str, registry: str, server: str = "", why: str = "") -> None:
        """`server` is the host of the token server; `why` the cause if it is not just that the host is not listed."""
        named = f": {server}" if server else ""
        because = f": {why}" if why else ""
        super().__init__(f"{host} names a token server that Registry {registry} does not allow{named}{because}")
        if server and not why:
            self.step = f"list {server} in spec.network.realmHosts, if it is the registry's own"


class RedirectRefused(Fault):
    """The upstream redirects to where the proxy does not go."""

    actors = (Actor.VENDOR,)
    status = 502
    code = "UNAVAILABLE"
    default_hint = "the vendor can allow it in network"

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host} redirects to where its Registry does not allow: {why}")


# --- the proxy's side --------------------------------------------------------------------------------------------


class ShuttingDown(Fault):
    """This proxy drains; another replica, or the next start, answers."""

    actors = (Actor.PROXY_OPERATOR,)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "retry"

    def __init__(self) -> None:
        super().__init__("the proxy is shutting down", retry_after=1)


class Overloaded(Fault):
    """The proxy has no room for another request."""

    actors = (Actor.PROXY_OPERATOR,)
    status = 503
    code = "UNAVAILABLE"
    default_hint = "retry"

    def __init__(self, cause: str = "requests", *, retry_after: float = 2) -> None:
        """`cause` is one of requests, descriptors, memory, bodies."""
        super().__init__("the proxy is at its limit", retry_after=retry_after)
        self.cause = cause


class Internal(Fault):
    """A defect of the proxy: a reference to its log and no detail."""

    actors = (Actor.PROXY_OPERATOR,)
    status = 500
    code = "UNKNOWN"
    default_hint = ""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"internal error, ref {request_id}")
