"""The values that fields hold. Each says what is wrong with one, and how to write it instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from pullgate.clean_text import FORBIDDEN
from pullgate.oci.reference import is_ipv6
from pullgate.policy.glob import validate_glob
from pullgate.policy.semver_range import validate_semver

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,18})d)?(?:(\d{1,18})h)?(?:(\d{1,18})m)?(?:(\d{1,18})s)?(?:(\d{1,18})ms)?", re.ASCII)
_QUANTITY = re.compile(r"(\d{1,18})(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?", re.ASCII)
_UNITS: dict[str, int] = {suffix: 1024**i for i, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi"))} | {
    suffix: 1000 ** (i + 1) for i, suffix in enumerate(("k", "M", "G", "T", "P"))
}
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_KEY_ID = re.compile(r"k[0-9a-f]{5}", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(:\d{1,5})?", re.ASCII)


def wrong(message: str, fix: str) -> PydanticCustomError:
    """An error of a field: what is, and how to write it instead."""
    return PydanticCustomError("pullgate", "{what}", {"what": message, "fix": fix})


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")  # strftime does not fill the year


def parse_time(text: str) -> datetime:
    """An RFC 3339 time in UTC; raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"{show(text)} is not a time")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{show(text)} is not a time") from None


def later(moment: datetime, by: timedelta) -> datetime:
    """`moment` plus `by`, at most the last time that there is: durations have no bound."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def parse_duration(text: str) -> timedelta:
    """`90d`, `30s`, `1h30m`: days to milliseconds, each at most once and in that order. Raises ValueError."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{show(text)} is not a duration")
    days, hours, minutes, seconds, milliseconds = (int(part or 0) for part in match.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
    except OverflowError:
        raise ValueError(f"{show(text)} is too long a duration") from None


def parse_quantity(text: str) -> int:
    """`200Gi`, `10G`, `500` as a whole number. Raises ValueError."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{show(text)} is not a quantity")
    return int(match[1]) * _UNITS[match[2] or ""]


def canonical_host(text: str) -> str:
    """A host[:port] in lower case, under the one name it has in references (docker.io, not registry-1.docker.io)."""
    host = text.lower()
    return "docker.io" if host in DOCKER_HUB_HOSTS else host


DOCKER_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")


def is_label(text: str) -> bool:
    """True if `text` is a DNS label (RFC 1123): no dots, so a path segment is never ambiguous."""
    return bool(_LABEL.fullmatch(text))


def is_subdomain(text: str) -> bool:
    """True if `text` is a DNS subdomain (RFC 1123), as names of most Kubernetes objects are."""
    return len(text) <= 253 and all(_LABEL.fullmatch(part) for part in text.split("."))


def show(value: object, limit: int = 60) -> str:
    """`value` as a person wrote it, cut, for a message about it."""
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= limit else text[: limit - 4] + "...'"


def _parsed(parse: Callable[[str], Any], fix: str, done: type) -> BeforeValidator:
    def check(value: object) -> Any:
        if isinstance(value, done) and not isinstance(value, bool):
            return value
        try:
            return parse(value if isinstance(value, str) else show(value))
        except ValueError as error:
            raise wrong(str(error), fix) from None

    return BeforeValidator(check)


def _text(check: Callable[[str], str | None], fix: str, change: Callable[[str], str] = str) -> BeforeValidator:
    def validate(value: object) -> str:
        if not isinstance(value, str):
            raise wrong(f"{show(value)} is not a text", fix)
        problem = check(value)
        if problem:
            raise wrong(problem, fix)
        return change(value)

    return BeforeValidator(validate)


def _matches(test: Callable[[str], object], noun: str) -> Callable[[str], str | None]:
    return lambda text: None if test(text) else f"{show(text)} is not {noun}"


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    if match is None or ".." in text:
        return False
    if text.startswith("[") and not is_ipv6(match[1][1:-1]):
        return False
    port = match[3]
    return port is None or 0 < int(port[1:]) < 65536


def _is_key_id(text: str) -> bool:
    return _KEY_ID.fullmatch(text) is not None


def is_domain(text: str) -> bool:
    """True for a DNS name of several labels, in any case; an IPv4 address is none."""
    return "." in text and is_subdomain(text.lower()) and not text.replace(".", "").isdigit()


def _one_line(text: str) -> str:
    if FORBIDDEN.search(text):
        raise wrong(f"{show(text)} holds a control or bidi character", "write it in one line of plain text")
    return text


def _semver_problem(text: str) -> str | None:
    problem = validate_semver(text)
    return f"{show(text)}: {problem}" if problem else None


def _glob_problem(text: str) -> str | None:
    problem = validate_glob(text)
    return f"{show(text)}: {problem}" if problem else None


_TIME_FIX = "write it like 2027-01-01T00:00:00Z"
_DURATION_FIX = "write it like 90d, 12h, 1h30m or 30s"

Time = Annotated[
    datetime,
    _parsed(parse_time, _TIME_FIX, datetime),
    PlainSerializer(format_time, return_type=str, when_used="json"),
]
Duration = Annotated[timedelta, _parsed(parse_duration, _DURATION_FIX, timedelta)]
Quantity = Annotated[int, _parsed(parse_quantity, "write it like 200Gi, 10G or a number of bytes", int)]
Label = Annotated[
    str, _text(_matches(is_label, "a DNS label"), "use at most 63 of a-z, 0-9 and -, and no dot, like my-app")
]
Subdomain = Annotated[str, _text(_matches(is_subdomain, "a name"), "use a-z, 0-9, - and dots, like quay-robot")]
Host = Annotated[
    str,
    _text(
        _matches(_is_host, "a host"), "write host or host:port without a scheme and path, like quay.io", canonical_host
    ),
]
Domain = Annotated[
    str,
    _text(_matches(is_domain, "a domain"), "write it without scheme, port and path, like images.myapp.com", str.lower),
]
Glob = Annotated[str, _text(_glob_problem, "write it like my-org/api, my-org/* (one segment) or my-org/** (all below)")]
KeyId = Annotated[str, _text(_matches(_is_key_id, "the id of a key"), "write it as status.keys has it, like k1a2b3")]
OneLine = AfterValidator(_one_line)
"""A text in any language, without control and bidi characters."""
SemverText = Annotated[str, _text(_semver_problem, "write it like '>=1.4 <2', '^1.4' or '1.x'")]
