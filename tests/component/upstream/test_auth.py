"""The vendor's credentials go only to a server that asks for them, and a token is fetched only when needed."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.providers.credentials import Credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.stage import (
    BASIC,
    CREDENTIALS,
    IMAGE_BODY,
    Reply,
    Stage,
    bearer,
    digest_of,
    replies,
    token_reply,
)

BODY = IMAGE_BODY
MANIFEST = Reply(200, BODY, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
DENIED = (
    b'{"errors":[{"code":"DENIED","message":"Your Authorization Token has expired. Reauthenticate and try again."}]}'
)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def manifest(reference: str = "1", repository: str = "a/b") -> UpstreamRequest:
    return UpstreamRequest("GET", repository, "manifests", reference)


class TokenRegistry:
    """A registry and its token server in one; takes the tokens that it issued last."""

    def __init__(self) -> None:
        self.issued = 0
        self.valid: set[str] = set()
        self.expires_in: object = 300
        self.scope = "repository:a/b:pull"
        self.realm_path = "/token"
        self.refusal: Reply | None = None
        """The answer to a wrong token; None means a 401 with a challenge."""
        self.stage = Stage(self.answer)
        self.gate: asyncio.Event | None = None

    async def answer(self, request: web.Request) -> Reply:
        if request.path == self.realm_path:
            if self.gate is not None:
                await self.gate.wait()
            self.issued += 1
            self.valid.add(f"token-{self.issued}")
            return token_reply(f"token-{self.issued}", self.expires_in)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") in self.valid:
            return MANIFEST
        if self.refusal is not None and "Authorization" in request.headers:
            return self.refusal
        return bearer(self.stage.url + self.realm_path, self.scope)

    @property
    def token_requests(self) -> list[str]:
        return [asked.path for asked in self.stage.asked if asked.path.startswith(self.realm_path)]


async def test_nothing_is_shown_before_it_is_asked_for() -> None:
    async with Stage(lambda _: MANIFEST) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        assert "Authorization" not in stage.asked[0].headers


async def test_basic_is_sent_at_once_when_it_was_asked_for_once() -> None:
    def script(request: web.Request) -> Reply:
        shown = request.headers.get("Authorization") == BASIC
        return MANIFEST if shown else Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest("2"))
        assert [asked.headers.get("Authorization") for asked in stage.asked] == [None, BASIC, BASIC]


async def test_refused_basic_credentials_are_not_sent_again_and_again() -> None:
    refusal = Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    async with Stage(lambda _: refusal) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest())
        assert [asked.path for asked in stage.asked] == ["/v2/a/b/manifests/1", "/v2/a/b/manifests/1", "/v2/"]


async def test_the_expired_password_of_ecr_is_told_from_a_missing_permission() -> None:
    async with Stage(lambda _: Reply(403, DENIED)) as stage:
        async with Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
            with pytest.raises(faults.UpstreamUnauthorized):
                await upstream.fetch_manifest(manifest())
            stage.script = lambda _: Reply(403, b'{"errors":[{"code":"DENIED","message":"no"}]}')
            with pytest.raises(faults.UpstreamForbidden):
                await upstream.fetch_manifest(manifest())


@pytest.mark.parametrize("refusal", [None, Reply(403), Reply(400, DENIED)], ids=["401", "403", "400 of ECR Public"])
async def test_a_refused_token_is_renewed_once(refusal: Reply | None) -> None:
    registry = TokenRegistry()
    registry.refusal = refusal
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        registry.valid.clear()
        await upstream.fetch_manifest(manifest())
        assert registry.issued == 2


async def test_a_token_that_is_refused_fresh_is_not_renewed() -> None:
    registry = TokenRegistry()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        stage.script = lambda request: (
            token_reply() if request.path == "/token" else bearer(stage.url + "/token", "repository:a/b:pull")
        )
        with pytest.raises(faults.UpstreamForbidden):
            await upstream.fetch_manifest(manifest())
        assert ["scope=" in path for path in registry.token_requests] == [True, False]


async def test_ecr_publics_400_after_a_renewal_means_rejected_credentials() -> None:
    registry = TokenRegistry()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        stage.script = lambda request: token_reply() if request.path == "/token" else Reply(400, DENIED)
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest())


async def test_one_fetch_serves_all_that_wait_and_survives_the_first_ones_end() -> None:
    registry = TokenRegistry()
    registry.gate = asyncio.Event()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        first = asyncio.create_task(upstream.fetch_manifest(manifest()))
        while not registry.token_requests:
            await asyncio.sleep(0.005)
        rest = [asyncio.create_task(upstream.fetch_manifest(manifest(str(n)))) for n in range(4)]
        for _ in range(10):
            await asyncio.sleep(0)  # each joins the fetch
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        registry.gate.set()
        await asyncio.gather(*rest)
        assert first.cancelled()
        assert registry.issued == 1


async def test_a_token_is_renewed_before_it_ends_and_serves_meanwhile() -> None:
    registry, clock = TokenRegistry(), Clock()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS), clock=clock) as upstream:
        await upstream.fetch_manifest(manifest())
        clock.now += 250  # of 300
        registry.gate = asyncio.Event()
        await upstream.fetch_manifest(manifest())  # does not wait for the renewal
        registry.gate.set()
        while registry.issued < 2:
            await asyncio.sleep(0.005)
        clock.now += 60  # the first one is over
        await upstream.fetch_manifest(manifest())
        assert registry.issued == 2


@pytest.mark.parametrize("expires_in", [None, -1, "soon", True])
async def test_a_token_without_a_lifetime_lives_a_minute(expires_in: object) -> None:
    registry, clock = TokenRegistry(), Clock()
    registry.expires_in = expires_in
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS), clock=clock) as upstream:
        await upstream.fetch_manifest(manifest())
        clock.now += 40
        await upstream.fetch_manifest(manifest())
        assert registry.issued == 1
        clock.now += 20
        await upstream.fetch_manifest(manifest())
        assert registry.issued == 2


async def test_a_token_of_one_repository_is_not_used_for_another() -> None:
    registry = TokenRegistry()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest(repository="c/d"))
        assert [path.partition("scope=")[2] for path in registry.token_requests] == [
            "repository:a/b:pull",
            "repository:c/d:pull",
        ]


async def test_more_than_to_pull_is_never_asked_for() -> None:
    registry = TokenRegistry()
    registry.scope = "repository:mirror/a/b:pull,push,delete"
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        assert registry.token_requests[0].endswith("scope=repository:mirror/a/b:pull")


async def test_the_scope_of_a_registrys_own_making_is_kept() -> None:
    registry = TokenRegistry()
    registry.scope = "aws"  # ECR Public
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        assert registry.token_requests[0].endswith("scope=aws")


@pytest.mark.parametrize("status", [404, 405])
async def test_a_token_server_without_get_is_asked_by_post(status: int) -> None:
    def script(request: web.Request) -> Reply:
        if request.path == "/token":
            return Reply(status) if request.method == "GET" else token_reply()
        return MANIFEST if "Authorization" in request.headers else bearer(stage.url + "/token")

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest(repository="c/d"))
        tokens = [asked for asked in stage.asked if asked.path.startswith("/token")]
        assert [asked.method for asked in tokens] == ["GET", "POST", "POST"]
        assert tokens[1].form == {
            "grant_type": "password",
            "service": "stage",
            "scope": "repository:a/b:pull",
            "client_id": "pullgate",
            "username": "robot",
            "password": "CANARY-of-the-vendor",
        }


async def test_get_with_basic_is_the_default_and_an_anonymous_one_shows_nothing() -> None:
    for credentials, shown in ((CREDENTIALS, BASIC), (None, None)):
        registry = TokenRegistry()
        async with registry.stage as stage, Upstream(stage.config(credentials=credentials)) as upstream:
            await upstream.fetch_manifest(manifest())
            asked = next(asked for asked in stage.asked if asked.path.startswith("/token"))
            assert (asked.method, asked.headers.get("Authorization")) == ("GET", shown)


async def test_the_upstream_is_never_shown_the_password_when_it_takes_tokens() -> None:
    registry = TokenRegistry()
    registry.realm_path = "/elsewhere"
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        shown = [asked.headers.get("Authorization") for asked in stage.asked if asked.path.startswith("/v2/")]
        assert shown == [None, "Bearer token-1"]


@pytest.mark.parametrize("field", ["token", "access_token"])
async def test_either_name_of_the_token_is_taken(field: str) -> None:
    def script(request: web.Request) -> Reply:
        if request.path == "/token":
            return Reply(200, b'{"%s": "x-y-z"}' % field.encode())
        shown = request.headers.get("Authorization")
        return MANIFEST if shown == "Bearer x-y-z" else bearer(stage.url + "/token")

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        assert (await upstream.fetch_manifest(manifest())).digest == digest_of(BODY)


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (Reply(401), faults.UpstreamUnauthorized, "rejected the vendor's credentials"),
        (Reply(403), faults.UpstreamUnauthorized, "rejected the vendor's credentials"),
        (Reply(400), faults.UpstreamUnauthorized, "rejected the vendor's credentials"),
        (Reply(500), faults.UpstreamError, "answered 500"),
        (Reply(200, b"<html>"), faults.UpstreamProtocol, "not answer in JSON"),
        (Reply(200, b"[]"), faults.UpstreamProtocol, "not answer with an object"),
        (Reply(200, b"{}"), faults.UpstreamProtocol, "sent no token"),
        (Reply(200, b'{"token":"a\\r\\nX-Evil: 1"}'), faults.UpstreamProtocol, "cannot be sent on"),
        (Reply(200, b'{"token":"' + b"x" * 300_000 + b'"}'), faults.UpstreamProtocol, "larger than"),
        (Reply(307, b"", {"Location": "/other"}), faults.RedirectRefused, "token server redirects"),
    ],
    ids=["401", "403", "400", "500", "no JSON", "no object", "no token", "header injection", "too large", "redirect"],
)
async def test_a_token_servers_failure_has_its_name(answer: Reply, fault: type[faults.Fault], words: str) -> None:
    def script(request: web.Request) -> Reply:
        return answer if request.path == "/token" else bearer(stage.url + "/token")

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        with pytest.raises(fault, match=words):
            await upstream.fetch_manifest(manifest())
        assert not [asked for asked in stage.asked if asked.path.startswith("/other")]


async def test_a_rate_limit_is_remembered_until_it_has_passed() -> None:
    clock = Clock()
    limited = Reply(429, b"", {"Retry-After": "42"})
    async with Stage(replies(limited, MANIFEST)) as stage, Upstream(stage.config(), clock=clock) as upstream:
        for ask in (upstream.fetch_manifest, upstream.send, upstream.resolve_manifest):
            with pytest.raises(faults.UpstreamRateLimited, match="retry in 42 s") as caught:
                await ask(manifest())
            assert caught.value.retry_after == 42
        assert len(stage.asked) == 1
        clock.now += 43
        await upstream.fetch_manifest(manifest())


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7200", 3600),
        ("99999999999999", 3600),
        ("0", 1),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 50),
        ("later", None),
        (None, None),
    ],
)
async def test_retry_after_is_seconds_or_a_date_and_bounded(retry_after: str | None, seconds: float | None) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    async with Stage(lambda _: Reply(429, b"", headers)) as stage:
        async with Upstream(stage.config(), wall_clock=lambda: 50.0) as upstream:
            with pytest.raises(faults.UpstreamRateLimited) as caught:
                await upstream.fetch_manifest(manifest())
            assert caught.value.retry_after == seconds


async def test_tokens_are_not_kept_without_bound() -> None:
    registry = TokenRegistry()
    async with registry.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        for number in range(1100):
            await upstream._auth.authorize(f"r/{number}")
        assert len(upstream._auth._tokens._tokens) == 1024


def test_no_secret_is_in_what_is_printed() -> None:
    config = UpstreamConfig("a/b", "h", "h", Credentials("robot", "CANARY"), ca_pem="PEM")
    assert "CANARY" not in repr(config)
    assert "robot" not in repr(config)
    assert "PEM" not in repr(config)
