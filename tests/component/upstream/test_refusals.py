"""A refusal is not always what it says: Pullgate tells login, permission, policy and limit apart, and asks once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
from collections.abc import Callable

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.providers.credentials import Credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.refusals import FIRST_PAUSE, Refusals
from pullgate.upstream.request import Kind, UpstreamRequest
from tests.component.upstream.stage import BASIC, CREDENTIALS, IMAGE_BODY, Reply, Stage, token_reply

BODY = IMAGE_BODY
MANIFEST = Reply(200, BODY, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
TAGS = Reply(200, b'{"name":"a/b","tags":["1"]}', {"Content-Type": "application/json"})


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def manifest(repository: str = "a/b", kind: Kind = "manifests") -> UpstreamRequest:
    return UpstreamRequest("GET", repository, kind, "" if kind == "tags" else "1")


def error(status: int, code: str, message: str, **headers: str) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json", **headers})


class Service:
    """A registry and its token server. `may` is what the account may pull; tokens are the scope in clear."""

    def __init__(self, *, right: bool = True, may: tuple[str, ...] = ()) -> None:
        self.stage = Stage(self.answer)
        self.right, self.may = right, may
        self.realm = ""

    async def answer(self, request: web.Request) -> Reply:
        await asyncio.sleep(0.002)
        if request.path.startswith("/token"):
            return self.token(request, request.query.get("scope", ""))
        given = request.headers.get("Authorization", "")
        repository = request.path.removeprefix("/v2/").rpartition("/manifests")[0]
        if not given.startswith("Bearer "):
            return self.denied(request, repository)
        if not repository:
            return Reply(200, b"{}")
        granted = base64.b64decode(given.removeprefix("Bearer ")).decode()
        return MANIFEST if granted == f"repository:{repository}:pull" else self.denied(request, repository)

    def token(self, request: web.Request, scope: str) -> Reply:
        raise NotImplementedError

    def denied(self, request: web.Request, repository: str) -> Reply:
        scope = f',scope="repository:{repository}:pull"' if repository else ""
        realm = self.realm or self.stage.url + "/token"
        challenge = f'Bearer realm="{realm}",service="s"{scope}'
        return error(401, "UNAUTHORIZED", "access is not authorized", **{"WWW-Authenticate": challenge})

    def knows(self, request: web.Request) -> bool:
        return self.right and request.headers.get("Authorization") == BASIC

    def grants(self, scope: str) -> bool:
        return not scope or scope.removeprefix("repository:").removesuffix(":pull") in self.may

    def count(self, path: str) -> int:
        return len([asked for asked in self.stage.asked if asked.path.startswith(path)])


def grant(scope: str) -> Reply:
    return token_reply(base64.b64encode(scope.encode() or b"-").decode())


class Harbor(Service):
    """goharbor: v2auth/auth.go getChallenge; core/service/token/creator.go."""

    def token(self, request: web.Request, scope: str) -> Reply:
        if not scope and not self.knows(request):
            return error(401, "UNAUTHORIZED", "unauthorized")
        return grant(scope if self.knows(request) and self.grants(scope) else "")

    def denied(self, request: web.Request, repository: str) -> Reply:
        if "Authorization" in request.headers:
            return error(401, "UNAUTHORIZED", "unauthorized to access", **{"WWW-Authenticate": 'Basic realm="harbor"'})
        return super().denied(request, repository)


class Quay(Service):
    """quay: auth/registry_jwt_auth.py; a plain challenge, without insufficient_scope."""

    def token(self, request: web.Request, scope: str) -> Reply:
        if not self.knows(request):
            return Reply(401, b'{"message":"Invalid username or password"}', {"Content-Type": "application/json"})
        return grant(scope if self.grants(scope) else "")


class Refusing(Service):
    """Google, Azure and DigitalOcean refuse a missing permission at their token server."""

    def __init__(self, refusal: Reply, *, right: bool = True, may: tuple[str, ...] = ()) -> None:
        super().__init__(right=right, may=may)
        self.refusal = refusal

    def token(self, request: web.Request, scope: str) -> Reply:
        if not self.knows(request):
            return self.refusal
        return grant(scope) if self.grants(scope) else self.refusal


GOOGLE = (
    'Permission "artifactregistry.repositories.downloadArtifacts" denied on resource '
    '"projects/p/locations/l/repositories/r" (or it may not exist)'
)
"""Config Sync's troubleshooting page."""
SERVICES: dict[str, Callable[[bool, tuple[str, ...]], Service]] = {
    "Harbor": lambda right, may: Harbor(right=right, may=may),
    "Quay": lambda right, may: Quay(right=right, may=may),
    "Google": lambda right, may: Refusing(error(403, "DENIED", GOOGLE), right=right, may=may),
    # azure-key-vault-to-kubernetes#484
    "ACR": lambda right, may: Refusing(error(401, "UNAUTHORIZED", "authentication required"), right=right, may=may),
    # build-push-action#585, #586
    "DigitalOcean": lambda right, may: Refusing(error(400, "DENIED", "access denied"), right=right, may=may),
}


@pytest.mark.parametrize("name", SERVICES)
async def test_a_missing_permission_is_not_called_a_wrong_password(name: str) -> None:
    service = SERVICES[name](True, ("a/b",))
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        with pytest.raises(faults.UpstreamForbidden, match="may not read c/d on registry.test"):
            await upstream.fetch_manifest(manifest("c/d"))
        await upstream.fetch_manifest(manifest())


@pytest.mark.parametrize("name", SERVICES)
async def test_a_wrong_password_is_not_called_a_missing_permission(name: str) -> None:
    service = SERVICES[name](False, ("a/b",))
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest())


@pytest.mark.parametrize("name", SERVICES)
async def test_thirty_pulls_with_a_wrong_password_are_two_token_requests(name: str) -> None:
    service, clock = SERVICES[name](False, ("a/b",)), Clock()
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS), clock=clock) as upstream:
        pulls = [upstream.fetch_manifest(manifest(f"a/{n % 10}")) for n in range(30)]
        ends = await asyncio.gather(*pulls, return_exceptions=True)
        assert {type(end) for end in ends} == {faults.UpstreamUnauthorized}
        scoped = [asked.path for asked in stage.asked if "scope=" in asked.path]
        bare = service.count("/token") - len(scoped)
        assert bare == 1
        # Harbor grants an empty token for each scope; such a request is no failed login there.
        assert len(scoped) <= (10 if name == "Harbor" else 1)
        before = service.count("/token")
        for _ in range(30):
            with pytest.raises(faults.UpstreamUnauthorized):
                await upstream.fetch_manifest(manifest())
        assert service.count("/token") == before
        for again in range(1, 4):
            clock.now += FIRST_PAUSE * 2**again
            with pytest.raises(faults.UpstreamUnauthorized):
                await upstream.fetch_manifest(manifest(f"z/{again}"))


async def test_a_login_that_is_right_again_is_found_after_a_pause() -> None:
    service, clock = Quay(right=False, may=("a/b",)), Clock()
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS), clock=clock) as upstream:
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest())
        service.right = True
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest())
        clock.now += FIRST_PAUSE
        await upstream.fetch_manifest(manifest())


async def test_new_credentials_are_tried_at_once_and_the_same_ones_not_by_another_client() -> None:
    service, clock = Quay(may=("a/b",)), Clock()
    refusals = Refusals(clock)
    wrong = Credentials(CREDENTIALS.username, "CANARY-wrong")
    async with service.stage as stage:
        for _ in range(3):
            async with Upstream(stage.config(credentials=wrong), clock=clock, refusals=refusals) as upstream:
                with pytest.raises(faults.UpstreamUnauthorized):
                    await upstream.fetch_manifest(manifest())
        assert service.count("/token") == 2
        async with Upstream(stage.config(credentials=CREDENTIALS), clock=clock, refusals=refusals) as upstream:
            await upstream.fetch_manifest(manifest())


async def test_a_refused_basic_login_is_remembered_and_a_refused_repository_is_that_alone() -> None:
    def script(request: web.Request) -> Reply:
        if request.headers.get("Authorization") != BASIC or "secret" in request.path:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return Reply(200, b"{}") if request.path == "/v2/" else MANIFEST

    async with Stage(script) as stage:
        async with Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
            with pytest.raises(faults.UpstreamForbidden):
                await upstream.fetch_manifest(manifest("secret/x"))
            await upstream.fetch_manifest(manifest())
        wrong = Credentials(CREDENTIALS.username, "CANARY-wrong")
        async with Upstream(stage.config(credentials=wrong)) as upstream:
            before = len(stage.asked)
            for _ in range(30):
                with pytest.raises(faults.UpstreamUnauthorized):
                    await upstream.fetch_manifest(manifest())
            shown = [asked for asked in stage.asked[before:] if "Authorization" in asked.headers]
            assert len(shown) == 2


async def test_thirty_pulls_at_once_show_a_wrong_basic_login_once() -> None:
    async def script(request: web.Request) -> Reply:
        await asyncio.sleep(0.01)
        return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        pulls = [upstream.fetch_manifest(manifest(f"a/{n % 10}")) for n in range(30)]
        ends = await asyncio.gather(*pulls, return_exceptions=True)
        assert {type(end) for end in ends} == {faults.UpstreamUnauthorized}
        # Once for the image, once for the ping that tells a refused login from a refused repository.
        assert len([asked for asked in stage.asked if "Authorization" in asked.headers]) == 2


async def test_a_first_try_that_got_no_answer_is_followed_by_the_next_one() -> None:
    shown = 0

    async def script(request: web.Request) -> Reply:
        nonlocal shown
        if request.headers.get("Authorization") != BASIC:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        shown += 1
        await asyncio.sleep(0.01)
        return Reply(404, b"") if shown > 3 else Reply(hang_up=True)

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        pulls = [upstream.fetch_manifest(manifest(f"a/{n}")) for n in range(5)]
        async with asyncio.timeout(8):  # less than the others would wait for a first try that never ends
            ends = await asyncio.gather(*pulls, return_exceptions=True)
        assert faults.ManifestUnknown in {type(end) for end in ends}


@pytest.mark.parametrize("name", ["Quay", "Basic"])
async def test_clients_of_several_apps_with_the_same_wrong_login_show_it_as_one(name: str) -> None:
    def basic(request: web.Request) -> Reply:
        return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    clock = Clock()
    refusals = Refusals(clock)
    service = Quay(right=False)
    if name == "Basic":
        service.stage.script = basic
    async with service.stage as stage, contextlib.AsyncExitStack() as stack:
        config = stage.config(credentials=CREDENTIALS)
        apps = [
            await stack.enter_async_context(
                Upstream(dataclasses.replace(config, registry=f"app-{n}/up"), clock=clock, refusals=refusals)
            )
            for n in range(10)
        ]
        ends = await asyncio.gather(*(app.fetch_manifest(manifest()) for app in apps), return_exceptions=True)
        assert {type(end) for end in ends} == {faults.UpstreamUnauthorized}
        assert len([asked for asked in stage.asked if asked.headers.get("Authorization") == BASIC]) == 2


async def test_one_denial_by_basic_does_not_end_bearer_for_the_others() -> None:
    service = Harbor(may=("a/b", "e/f"))
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        with pytest.raises(faults.UpstreamForbidden):
            await upstream.fetch_manifest(manifest("c/d"))
        before = len(stage.asked)
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest("e/f"))
        shown = [asked.headers.get("Authorization", "")[:6] for asked in stage.asked[before:] if "/v2/" in asked.path]
        assert shown == ["Bearer", "Bearer"]


@pytest.mark.parametrize("end", [Reply(404), Reply(500), Reply(307, b"", {"Location": "/x"}), Reply(hang_up=True)])
async def test_a_token_server_that_moved_is_found_without_a_restart(end: Reply) -> None:
    service, clock = Quay(may=("a/b", "c/d")), Clock()
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS), clock=clock) as upstream:
        await upstream.fetch_manifest(manifest())
        clock.now += 400  # the token is over
        service.realm = stage.url + "/token-new"
        right = stage.script
        stage.script = lambda request: end if request.path == "/token" else right(request)
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest("c/d"))


async def test_a_scope_in_the_realm_is_of_its_repository_alone() -> None:
    class Nvidia(Quay):
        """nvcr.io: realm="https://nvcr.io/proxy_auth?scope=repository:nvidia/cuda:pull"."""

        def denied(self, request: web.Request, repository: str) -> Reply:
            realm = f"{self.stage.url}/token?scope=repository:{repository}:pull"
            return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}"'})

    service = Nvidia(may=("a/b", "c/d"))
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        for _ in range(2):
            await upstream.fetch_manifest(manifest())
            await upstream.fetch_manifest(manifest("c/d"))
        asked = [asked.path for asked in stage.asked if asked.path.startswith("/token")]
        assert asked == ["/token?scope=repository:a/b:pull", "/token?scope=repository:c/d:pull"]


async def test_two_repositories_with_token_servers_of_their_own_do_not_take_each_others() -> None:
    class Split(Quay):
        """Artifactory behind a front: /artifactory/api/docker/REPOSITORY/v2/token."""

        def denied(self, request: web.Request, repository: str) -> Reply:
            self.realm = f"{self.stage.url}/token-{repository.partition('/')[0]}"
            return super().denied(request, repository)

    service = Split(may=("a/b", "c/d"))
    async with service.stage as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        for _ in range(3):
            await upstream.fetch_manifest(manifest())
            await upstream.fetch_manifest(manifest("c/d"))
        before = len(stage.asked)
        await upstream.fetch_manifest(manifest())
        await upstream.fetch_manifest(manifest("c/d"))
        assert [asked.path for asked in stage.asked[before:]] == ["/v2/a/b/manifests/1", "/v2/c/d/manifests/1"]


async def test_tags_are_asked_with_the_scope_that_is_challenged_and_manifests_with_theirs() -> None:
    tokens: list[str] = []

    def script(request: web.Request) -> Reply:
        if request.path == "/token":
            tokens.append(request.query.get("scope", ""))
            return grant(tokens[-1])
        # renovate#14708, argocd-image-updater#1515
        action = "metadata_read" if request.path.endswith("/tags/list") else "pull"
        wanted = f"repository:a/b:{action}"
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and base64.b64decode(given).decode() == wanted:
            return TAGS if action == "metadata_read" else MANIFEST
        challenge = f'Bearer realm="{stage.url}/token",service="acr",scope="{wanted}"'
        return Reply(401, b"", {"WWW-Authenticate": challenge})

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        for _ in range(2):
            assert (await upstream.send(manifest(kind="tags"))).status == 200
            await upstream.fetch_manifest(manifest())
        assert set(tokens) == {"repository:a/b:metadata_read", "repository:a/b:pull"}


@pytest.mark.parametrize(
    ("challenged", "asked"),
    [
        ("repository:a/b:pull,push,delete", "repository:a/b:pull"),
        ("repository:a/b:metadata_read,metadata_write,delete", "repository:a/b:metadata_read"),
        ("repository:a/b:*", "repository:a/b:pull"),
        ("repository:a/b:push", "repository:a/b:pull"),
        ("registry:catalog:*", "repository:a/b:pull"),
        ("repository:a/b:pull,push repository:base/x:pull", "repository:a/b:pull repository:base/x:pull"),
    ],
)
async def test_a_scope_that_is_asked_for_only_reads(challenged: str, asked: str) -> None:
    def script(request: web.Request) -> Reply:
        if request.path == "/token":
            return token_reply()
        if "Authorization" in request.headers:
            return MANIFEST
        return Reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{stage.url}/token",scope="{challenged}"'})

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        assert [one.path.partition("scope=")[2].replace("+", " ") for one in stage.asked if "token" in one.path] == [
            asked
        ]


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "none"])
async def test_a_repository_that_strangers_do_not_see_is_asked_with_the_login(scheme: str) -> None:
    def script(request: web.Request) -> Reply:
        given = request.headers.get("Authorization", "")
        if request.path == "/token":
            return token_reply() if given == BASIC else Reply(401)
        challenge = 'Basic realm="x"' if scheme == "Basic" else f'Bearer realm="{stage.url}/token"'
        if request.path == "/v2/" and not given:
            return Reply(200) if scheme == "none" else Reply(401, b"", {"WWW-Authenticate": challenge})
        return MANIFEST if given == ("Bearer a-token" if scheme == "Bearer" else BASIC) else Reply(404)

    async with Stage(script) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        await upstream.fetch_manifest(manifest())
        before = len(stage.asked)
        await upstream.fetch_manifest(manifest())
        assert len(stage.asked) == before + 1
    async with Stage(lambda _: Reply(404)) as stage, Upstream(stage.config(credentials=CREDENTIALS)) as upstream:
        with pytest.raises(faults.ManifestUnknown):
            await upstream.fetch_manifest(manifest())
