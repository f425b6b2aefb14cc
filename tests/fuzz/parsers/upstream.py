"""Parsers of the answers of an upstream, its token server and a cloud."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, cast

from yarl import URL

from pullgate import faults
from pullgate.providers.asked_end import ask_github, ask_gitlab, read_github_time
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Issued, Reply, Tools
from pullgate.providers.exchanges.azure import _exchange
from pullgate.providers.exchanges.github import GitHubApp
from pullgate.providers.known_end import end_of_token
from pullgate.upstream.answers import fault_of_answer, read_errors, read_told_fault
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.guard import Guard, _is_address, name_of, same_registered_domain
from pullgate.upstream.ranges import ContentRange, answers_range, parse_content_range
from pullgate.upstream.ratelimit import LONGEST, seconds_of
from pullgate.upstream.request import UpstreamRequest
from pullgate.upstream.tokens import Grant, parse_grant
from tests.fuzz.parsers.oci import _JSON_WORDS
from tests.fuzz.parsers.parser import LARGEST, Answer, Parser, drive, parts, wire

NOW: Final = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
_CONFIG: Final = UpstreamConfig("my-app/quay", "quay.io", "quay.io", Credentials("u", "p"))
_GUARD: Final = Guard(_CONFIG)
_SOURCE: Final = URL("https://quay.io/v2/my-org/api/blobs/sha256:0")


def _content_range(found: ContentRange | None) -> None:
    if found is None:
        return
    total = "*" if found.total is None else found.total
    assert parse_content_range(f"bytes {found.first}-{found.last}/{total}") == found
    assert 0 <= found.first <= found.last
    assert answers_range(f"bytes={found.first}-", found)
    assert answers_range(f"bytes={found.first}-{found.last}", found)
    assert not answers_range(f"bytes={found.first + 1}-", found)


def _grant(grant: Grant) -> None:
    assert 0 < grant.lifetime <= 12 * 3600
    assert isinstance(grant.lifetime, float)
    assert grant.token.isascii()
    assert grant.token.isprintable()


def _realm(url: URL) -> None:
    """The credentials go to the upstream's own owner, by TLS, and to no address."""
    host = name_of(url)
    assert url.scheme == "https"
    assert not _is_address(host)
    assert host == "quay.io" or same_registered_domain(host, "quay.io")
    assert url.user is None
    assert url.extend_query({"service": "s", "scope": "a:b"}).host == url.host


def _redirect(url: URL) -> None:
    assert url.scheme == "https"
    assert url.raw_host
    assert url.port is not None
    assert url.user is None
    assert url.origin().scheme == "https"
    assert _GUARD.literal_is_allowed(url)
    assert all("!" <= c <= "~" for c in str(url))


def _told(data: bytes) -> faults.Fault | None:
    reason, wait, phrase, body = parts(data, 4)
    answer = Answer(wire_bytes(body), 403, X_Pullgate_Reason=reason, Retry_After=wait)
    answer.phrase = phrase
    return cast("faults.Fault | None", drive(read_told_fault(cast(Any, answer))))


def _fault(fault: faults.Fault | None) -> None:
    if fault is not None:
        assert fault.message == faults.plain_text(fault.message)
        assert fault.hint == faults.plain_text(fault.hint)
        assert fault.retry_after is None or 1 <= fault.retry_after <= LONGEST


def _refusal(data: bytes) -> faults.Fault:
    status, body = parts(data, 2)
    number = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 403
    request = UpstreamRequest("GET", "my-org/api", "manifests", "1.0")
    errors = drive(read_errors(cast(Any, Answer(wire_bytes(body), number))))
    return fault_of_answer("quay.io", request, number, errors)


def wire_bytes(given: str) -> bytes:
    """Back to what came over the wire."""
    return given.encode("utf-8", "surrogateescape")


class _Http:
    """Answers every request with the same."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def send(self, method: str, url: str, headers: Any, form: Any = None) -> Reply:
        return self._reply


def _reply(data: bytes) -> Reply:
    status, name, value, body = parts(data, 4)
    number = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 200
    return Reply(number, {name.lower(): value}, wire_bytes(body))


async def _no_account(*_: str) -> str:
    raise AssertionError("not asked for")


def _ask_acr(data: bytes) -> Issued:
    tools = Tools(_Http(_reply(data)), lambda: NOW, _no_account)
    return cast("Issued", drive(_exchange(tools, "x.azurecr.io", "tenant", "access")))


def _ask_github_app(data: bytes) -> Issued:
    return GitHubApp("https://api.github.com", "1", "2", "").read(_reply(data))


def _failed(data: bytes, ask: Any) -> Any:
    try:
        return ask(data)
    except ExchangeFailed as error:
        _bounded(error.retry_after or 0.0, 0.0, LONGEST)
        raise


def _issued(issued: Issued) -> None:
    assert isinstance(issued.credentials.password, str)
    assert issued.credentials.expires_at is None or issued.credentials.expires_at.tzinfo is not None


def _ask_ends(data: bytes) -> list[datetime | None]:
    http = _Http(_reply(data))
    github = drive(ask_github(Credentials("u", "ghp_" + "0" * 36), http, "ghcr.io"))
    gitlab = drive(ask_gitlab(Credentials("u", "glpat-" + "0" * 20), http, "registry.gitlab.com"))
    return [github, gitlab]


def _ends(found: list[datetime | None]) -> None:
    assert all(end is None or end.utcoffset() is not None for end in found)


_URL_WORDS: Final = (
    b"https://", b"http://", b"//", b"quay.io", b"auth.quay.io", b".quay.io", b"@", b":", b"/", b"?", b"#", b"%2e",
    b"[::1]", b"[fe80::1%25eth0]", b"169.254.169.254", b"2130706433", b"0x7f.1", b"xn--", b"xn--a", b".", b"\\",
    b":443",
    b":0", b":99999", b"[::ffff:127.0.0.1]", b"[v1.a]", b"amazonaws.com", b"evil.example", b"\xc3\xa9", b"%00",
)  # fmt: skip
_ANSWER_WORDS: Final = (
    b"200\n", b"201\n", b"401\n", b"403\n", b"404\n", b"429\n", b"retry-after\n", b"x-ratelimit-remaining\n",
    b"\xc2\xb2",
    b"99999999999", b"\n", b'{"refresh_token":', b'{"token":', b'"expires_at":"2027-01-01T00:00:00Z"', b'{"message":',
    b'{"expires_at":"2027-01-01"}', b"github-authentication-token-expiration\n", b"2026-12-01 10:00:00 UTC",
    b'"eyJhbGciOiJub25lIn0.eyJleHAiOjE4MDAwMDAwMDB9.x"', *_JSON_WORDS,
)  # fmt: skip

PARSERS: Final = (
    Parser(
        "content-range", lambda data: parse_content_range(wire(data)), (), _content_range,
        (b"bytes ", b"-", b"/", b"*", b"0", b"9" * 18, b"\xd9\xa3", b" ", b"BYTES "),
    ),
    Parser(
        "retry-after", lambda data: seconds_of(wire(data), NOW.timestamp()), (),
        lambda seconds: None if seconds is None else _bounded(seconds, 1.0, LONGEST),
        (b"60", b"Wed, 25 Nov 2026 12:00:00 GMT", b"Nov", b":", b"-", b"+9999", b"-0000", b" ", b"0001", b"99999",
         b"\xc2\xb2",
         b"(", b")", b",", b"AD", b"EST"),
    ),
    Parser(
        "grant", parse_grant, (ValueError,), _grant,
        (b'{"token":"a"', b'"access_token":', b'"expires_in":', *_JSON_WORDS), LARGEST, is_json=True,
    ),
    Parser("realm", lambda data: _GUARD.realm(wire(data)), (faults.RealmRefused,), _realm, _URL_WORDS),
    Parser(
        "redirect", lambda data: _GUARD.redirect(_SOURCE, wire(data)), (faults.RedirectRefused,), _redirect,
        _URL_WORDS
    ),
    Parser(
        "told-fault", _told, (), _fault,
        (b"LicenseExpired\n", b"\n", b"42", b"Forbidden: ", b'{"errors":[{"code":"DENIED","message":"',
         b'"detail":{"hint":',
         *_JSON_WORDS), 8192, is_json=True,
    ),
    Parser(
        "refusal", _refusal, (), _fault,
        (b"403\n", b"400\n", b"404\n", b'{"errors":[{"code":"DENIED"', b'"message":"token has expired"',
         *_JSON_WORDS),
        is_json=True,
    ),
    Parser("acr-answer", lambda data: _failed(data, _ask_acr), (ExchangeFailed,), _issued, _ANSWER_WORDS,
        is_json=True),
    Parser(
        "github-answer", lambda data: _failed(data, _ask_github_app), (ExchangeFailed,), _issued, _ANSWER_WORDS,
        is_json=True,
    ),
    Parser("ends-answer", _ask_ends, (), _ends, _ANSWER_WORDS, is_json=True),
    Parser(
        "known-end", lambda data: [end_of_token(wire(data)), read_github_time(wire(data))], (), _ends,
        (b"eyJ", b".", b"eyJleHAiOjE4MDAwMDAwMDB9", b"=", b"2026-12-01 10:00:00 UTC", b"0001", b"+2359", b"9999",
         b"W1tb"),
    ),
)  # fmt: skip


def _bounded(number: float, least: float, most: float) -> None:
    assert least <= number <= most, number
