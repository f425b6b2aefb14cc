"""Parsers of customers' requests, upstreams' lists, other proxies' counts, and the arguments of the command line."""

from __future__ import annotations

import base64
import json
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import click
from multidict import CIMultiDict, CIMultiDictProxy

from pullgate import faults
from pullgate.licensing.marks import Marker, derive_mark_key
from pullgate.licensing.usage import Counts
from pullgate.oci.digest import is_digest
from pullgate.oci.json_text import read_json
from pullgate.oci.reference import is_repository, is_tag
from pullgate.resources.fields import is_domain
from pullgate.usage.poller import InvalidUsage
from pullgate_cli.gate.options import build_options, parse_reports
from pullgate_cli.license.change import parse_end
from pullgate_cli.options import parse_address
from pullgate_cli.place.folder import merge
from pullgate_operator.reconcile.usage import UsageLedger, read_refused
from pullgate_proxy.limits.limits import PeerUsage
from pullgate_proxy.lineage.search import version_key
from pullgate_proxy.lists.documents import (
    Referrers,
    TagPage,
    cut_page,
    fetch_referrers,
    fetch_tag_page,
    filter_by_type,
    next_query,
    render_tags,
)
from pullgate_proxy.pipeline.authenticate import Logins, read_basic
from pullgate_proxy.pipeline.token import TokenForm, answer_token, grant_pull
from pullgate_proxy.request.origin import Origin, base_url, read_origin
from pullgate_proxy.request.parse import LIST_LIMIT, Kind, PullRequest, parse_request
from pullgate_proxy.settings import InvalidSettings, ProxySettings, parse_networks
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.tokens import SigningKey, SigningKeys
from tests.fuzz.parsers.oci import _JSON_WORDS, DIGEST
from tests.fuzz.parsers.parser import LARGEST, Answer, Parser, drive, parts, wire
from tests.fuzz.parsers.upstream import NOW as MOMENT
from tests.fuzz.parsers.upstream import wire_bytes

NOW: Final = 1_800_000_000.0
_KEYS: Final = SigningKeys((SigningKey("one", b"1" * 32, NOW + 86400),))
TOKEN: Final = _KEYS.issue(bytes(range(32)), NOW)
MARK: Final = Marker(derive_mark_key("one", b"1" * 32, "my-app"), "my-app", "acme").make(NOW)
_MAC: Final = base64.urlsafe_b64decode(MARK.rpartition(".")[2] + "==")
_SETTINGS: Final = ProxySettings(
    external_url="https://images.example.com", trusted_proxies=parse_networks(("10.0.0.0/8",))
)
_ASKED: Final = (
    faults.PathInvalid, faults.ReferenceInvalid, faults.DigestInvalid, faults.ReadOnly,
)  # fmt: skip
_REFUSED: Final = (faults.LoginRequired, faults.KeyMalformed, faults.KeyUnknown, faults.TokenExpired)


_LOOPBACK: Final = {"localhost", "127.0.0.1", "[::1]", "::1"}


def _snapshot() -> Snapshot:
    found = Snapshot()
    found.signing_keys = _KEYS
    return found


_SNAPSHOT: Final = _snapshot()


def _parse_request(data: bytes) -> PullRequest:
    method, _, path = wire(data).partition(" ")
    return parse_request(method, path)


def _request(request: PullRequest) -> None:
    if request.kind in {Kind.PING, Kind.TOKEN}:
        return
    assert request.method in {"GET", "HEAD"}
    assert is_repository(request.repository)
    if request.kind is Kind.TAGS:
        assert request.reference == "list"
    else:
        assert is_digest(request.reference) or (request.kind is Kind.MANIFESTS and is_tag(request.reference))
    assert request.query.isascii()
    assert all(int(value) <= LIST_LIMIT for name, value in parse_qsl(request.query) if name == "n")
    path = f"/v2/{request.repository}/{request.kind}/{request.reference}?{request.query}"
    again = parse_request(request.method, path + (f"&ns={request.ns}" if request.ns else ""))
    assert again == request


def _answer_token(data: bytes) -> dict[str, Any]:
    authorization, form = parts(data, 2)
    answered: dict[str, Any] = json.loads(answer_token(TokenForm(form), authorization or None, _SNAPSHOT, NOW))
    return answered


def _token_answer(answer: dict[str, Any]) -> None:
    assert len(_KEYS.verify(answer["token"], NOW)[0]) == 32
    assert "refresh_token" not in answer
    for scope in answer.get("scope", "").split():
        assert grant_pull(scope) == scope


def _verifies_mark(data: bytes) -> tuple[str, bool]:
    return wire(data), _KEYS.verifies_mark(wire(data), "my-app", "acme", NOW)


def _mark(found: tuple[str, bool]) -> None:
    """Nobody can make a MAC without the key: only the original is accepted, in any base64 form."""
    text, taken = found
    assert not taken or base64.urlsafe_b64decode(text.rpartition(".")[2] + "==") == _MAC


def _read_basic(data: bytes) -> tuple[str, str]:
    return read_basic(wire(data))


def _basic(found: tuple[str, str]) -> None:
    assert read_basic(base64.b64encode(":".join(found).encode()).decode()) == found


def _read_origin(data: bytes) -> Origin:
    peer, *fields = wire(data).split("\n")
    peer = peer if peer in {"10.0.0.1", "127.0.0.1", "::ffff:10.0.0.1"} else "1.2.3.4"
    headers = CIMultiDict[str]()
    for field in fields:
        name, _, value = field.partition(": ")
        headers.add(name, value)
    return read_origin(CIMultiDictProxy(headers), peer, _SETTINGS)


def _origin(origin: Origin) -> None:
    assert origin.host == origin.host.lower()
    assert len(origin.request_id) <= 64
    assert len(origin.client) <= 64
    url = base_url(origin, _SETTINGS)
    assert url in {"https://images.example.com", f"https://{origin.host}", f"http://{origin.host}"}
    assert is_domain(origin.name) or origin.name in _LOOPBACK or url == "https://images.example.com"


class _Upstream:
    """Answers each request with the same."""

    class config:  # noqa: N801
        host = "quay.io"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def send(self, request: object) -> Answer:
        return self._answer

    async def fetch_manifest(self, request: object) -> object:
        raise faults.ManifestUnknown(self.config.host, "a", "tag")


def _list_tags(data: bytes) -> tuple[str, TagPage, TagPage]:
    query, link, body = parts(data, 3)
    request = parse_request("GET", f"/v2/a/tags/list?{query}")
    upstream = cast(Any, _Upstream(Answer(wire_bytes(body), Link=link)))
    page: TagPage = drive(fetch_tag_page(upstream, "a", request.query))
    return request.query, page, cut_page(page, request.query)


def _tag_page(found: tuple[str, TagPage, TagPage]) -> None:
    query, page, cut = found
    asked = dict(parse_qsl(query))
    assert set(cut.tags) <= set(page.tags)
    assert len(cut.tags) <= int(asked.get("n", len(page.tags)))
    if cut is not page:
        assert all(tag > asked.get("last", "") for tag in cut.tags)
    body, link = render_tags("proxy/a", cut)
    assert all(is_tag(tag) for tag in json.loads(body)["tags"])
    assert link is None or (link.isascii() and link.isprintable() and link.count("<") == 1)
    sorted(page.tags, key=version_key)


def _list_referrers(data: bytes) -> Referrers:
    artifact, link, body = parts(data, 3)
    upstream = cast(Any, _Upstream(Answer(wire_bytes(body), Link=link)))
    found: Referrers = drive(fetch_referrers(upstream, "a", DIGEST.decode(), ""))
    return filter_by_type(found, artifact)


def _referrers(found: Referrers) -> None:
    assert all(map(is_digest, found.digests))
    assert len(json.loads(found.render())["manifests"]) == len(found.descriptors)


def _next(data: bytes) -> str | None:
    return next_query([wire(data)])


def _next_query(query: str | None) -> None:
    assert query is None or (query.isascii() and query.isprintable() and not set(query) & set(" <>#"))


def _take_usage(data: bytes) -> tuple[PeerUsage, UsageLedger]:
    peers, ledger = PeerUsage("own"), UsageLedger(lambda: MOMENT)
    heard: list[bool] = []
    for take in (lambda: drive(peers.take(data)), lambda: ledger.take(data), lambda: read_refused(data)):
        try:
            take()
        except InvalidUsage:
            heard.append(False)
        else:
            heard.append(True)
    assert heard[0] == heard[1]
    if not any(heard):
        raise InvalidUsage("nobody takes it")
    return peers, ledger


def _usage(found: tuple[PeerUsage, UsageLedger]) -> None:
    peers, ledger = found
    for name in list(peers._tallies):
        assert sum((tally.between(0, 10**9) for tally in peers.of(name)), Counts()).pulls >= 0
    for proxy in list(ledger._proxies.values()):
        for key in list(proxy.tallies):
            assert ledger.of(key) is not None


def _options(data: bytes) -> None:
    """Each option's text is taken or refused in words."""
    timeout, platform, report, end, address, network = parts(data, 6)
    given = {"platforms": (platform,), "timeout": timeout, "depth": "blobs", "retries": 0, "concurrency": 1}
    context, parameter = click.Context(click.Command("a")), click.Option(["--a"])
    for call in (
        lambda: build_options(given), lambda: parse_reports((report,)), lambda: parse_end(end, "--to"),
        lambda: parse_address(context, parameter, address),
    ):  # fmt: skip
        try:
            call()
        except click.BadParameter as error:
            _in_words(error.format_message())
    for make in (lambda: parse_networks((network,)), lambda: ProxySettings(external_url=network)):
        try:
            make()
        except InvalidSettings as error:
            _in_words(str(error))


def _in_words(message: str) -> None:
    assert message


def _merge(data: bytes) -> tuple[Any, Any]:
    both = read_json(data)
    if not isinstance(both, list) or len(both) != 2 or not all(isinstance(each, dict) for each in both):
        raise ValueError("not two objects")
    document, patch = both
    merged = json.loads(json.dumps(document))
    merge(merged, patch)
    return merged, _rfc7396(document, patch)


def _rfc7396(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _rfc7396(result.get(name), value)
    return result


def _merged(found: tuple[Any, Any]) -> None:
    assert json.dumps(found[0], sort_keys=True) == json.dumps(found[1], sort_keys=True)


def _long(digest: bytes) -> None:
    assert isinstance(digest, bytes)


_PATHS: Final = (
    b"GET /v2/", b"HEAD /v2/", b"PUT ", b"proxy/my-app/quay.io/", b"a", b"/", b"/manifests/", b"/blobs/",
    b"/tags/list",
    b"/referrers/", b"/blobs/uploads/", b"latest", DIGEST, b"?", b"&", b"=", b"n=", b"last=", b"ns=quay.io", b"%2e",
    b"%2f", b"..",
    b"%00", b"\n", b"\xff", b";", b"+", b"9" * 20, b"artifactType=", b"\xc2\xb2",
)  # fmt: skip
_KEY: Final = b"pgk_" + b"0" * 49
_LOGIN_WORDS: Final = (
    b"Basic ", b"Bearer ", base64.b64encode(b"a:" + _KEY), TOKEN.encode(), b"=", b".", b"W1tbW1tb", b"eyJ", b"\n",
    b" ",
    b"username=a", b"password=", _KEY, b"&", b"scope=repository:a/b:pull", b"grant_type=password",
    b"grant_type=refresh_token",
    b"service=", b"%20", b":", b",", b"\xff", b"\xc2\xb2",
)  # fmt: skip

PARSERS: Final = (
    Parser("request", _parse_request, _ASKED, _request, _PATHS),
    Parser(
        "token", _answer_token, (*_REFUSED, faults.PathInvalid), _token_answer, _LOGIN_WORDS, 16 * 1024
    ),
    Parser(
        "authorization", lambda data: Logins().read(wire(data), _KEYS, NOW), _REFUSED,
        _long, _LOGIN_WORDS,
    ),
    Parser("basic", _read_basic, (faults.KeyMalformed,), _basic, (b"YTpi", b"=", b"\xff", b"Og==")),
    Parser(
        "bearer", lambda data: _KEYS.verify(wire(data), NOW)[0], (faults.TokenExpired,), _long,
        (*TOKEN.encode().split(b"."), b".", b"eyJhbGciOiJub25lIn0", b"W1tbW1tb", b"="),
    ),
    Parser(
        "mark", _verifies_mark, (), _mark,
        (*MARK.encode().split(b"."), *TOKEN.encode().split(b"."), b".", b"eyJhbGciOiJub25lIn0", b"W1tbW1tb", b"="),
    ),
    Parser(
        "origin", _read_origin, (), _origin,
        (b"10.0.0.1\n", b"127.0.0.1\n", b"Host: ", b"X-Forwarded-Host: ", b"X-Forwarded-For: ", b"X-Request-Id: ",
         b"\n", b",",
         b"images.example.com", b"localhost", b":8080", b"[::1]", b"evil.example", b"::ffff:10.0.0.1",
         b"fe80::1%eth0", b"\xff"),
    ),
    Parser(
        "tags", _list_tags, (*_ASKED, faults.UpstreamProtocol), _tag_page,
        (b"n=1\n", b"last=a", b"&", b"\n", b'</v2/a/tags/list?n=1&last=a>; rel="next"\n', b'{"tags":["a","b",',
         b'"1.10"', b'"\\u00b2"',
         *_JSON_WORDS), LARGEST, is_json=True,
    ),
    Parser(
        "referrers", _list_referrers, (faults.UpstreamProtocol,), _referrers,
        (b"\n\n", b'{"manifests":[{"digest":"' + DIGEST + b'"', b'"artifactType":"a"', *_JSON_WORDS), LARGEST,
         is_json=True,
    ),
    Parser("link", _next, (ValueError,), _next_query, (b"<", b">", b"; ", b"rel=", b'"next"', b"?", b"&", b"#", b"[", b"://",
        b"%0a", b"a=b")),
    Parser(
        "usage", _take_usage, (InvalidUsage,), _usage,
        (b'{"instance":"a"', b'"last":1', b'"more":false', b'"licenses":[{"app":"a","name":"b"',
         b'"hours":[[490000,1,2,3]]', b'"tests":[[490000,4]]',
         b'"lastPull":', b'"keys":{', b'"refused":[{"app":"a","name":"b","at":', *_JSON_WORDS), LARGEST, is_json=True,
    ),
    Parser(
        "options", _options, words=(b"2m\n", b"linux/amd64\n", b"junit=a.xml\n", b"2027-12-31\n", b"127.0.0.1:80\n",
        b"10.0.0.0/8", b"\n", b"[::1]:80",
         b"https://a.example", b"9" * 20, b"\xd9\xa3", b"0001-01-01"),
    ),
    Parser("merge", _merge, (ValueError,), _merged, (b'[{"a":1},{"a":', b'"a":', b'"b":', *_JSON_WORDS),
        is_json=True),
)  # fmt: skip
