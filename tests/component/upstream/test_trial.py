"""A login counts as right only where a wrong one would have been refused."""

from __future__ import annotations

import dataclasses

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.providers.credentials import Credentials
from pullgate.upstream.diagnose import DiagnosedStep, Image, diagnose
from pullgate.upstream.login import check_login
from pullgate.upstream.trial import Place, places_of
from tests.component.upstream.stage import BASIC, CREDENTIALS, IMAGE_BODY, Reply, Stage, token_reply

MANIFEST = Reply(200, IMAGE_BODY, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})
WRONG = Credentials(CREDENTIALS.username, "CANARY-wrong")
PRIVATE, PUBLIC = Place("private/api"), Place("public/api")


class Open:
    """A registry with anonymous access: /v2/ answers 200 to everybody, also to a wrong password."""

    def __init__(self, *, refusal: int = 401, tagged: bool = True) -> None:
        self.stage = Stage(self.answer)
        self.refusal, self.tagged = refusal, tagged

    def answer(self, request: web.Request) -> Reply:
        if request.path == "/v2/":
            return Reply(200, b"{}")
        if "public" in request.path:
            return MANIFEST
        if request.headers.get("Authorization") == BASIC:
            return MANIFEST if self.tagged else Reply(404)
        return Reply(self.refusal, b"", {"WWW-Authenticate": 'Basic realm="x"'} if self.refusal == 401 else {})


async def login_at(registry: Open, credentials: Credentials, *places: Place) -> tuple[faults.Fault | None, str]:
    async with registry.stage as stage:
        found = await check_login(stage.config(credentials=credentials), places=places)
        assert found.reachable
        assert found.authenticated == (found.fault is None and not found.unproven)
        return found.fault, found.unproven


@pytest.mark.parametrize("credentials", [CREDENTIALS, WRONG], ids=["right", "wrong"])
async def test_a_ping_that_lets_strangers_in_proves_no_login(credentials: Credentials) -> None:
    fault, unproven = await login_at(Open(), credentials)
    assert fault is None
    assert unproven == "registry.test lets strangers in at /v2/, so the login was not tried"


@pytest.mark.parametrize("refusal", [401, 404])
@pytest.mark.parametrize("tagged", [True, False])
async def test_a_private_image_proves_the_login(refusal: int, tagged: bool) -> None:
    fault, unproven = await login_at(Open(refusal=refusal, tagged=tagged), CREDENTIALS, PRIVATE)
    assert fault is None
    # If an anonymous client gets 404, a 404 with the login proves nothing.
    assert bool(unproven) == (refusal == 404 and not tagged)


async def test_a_wrong_password_is_found_by_a_private_image() -> None:
    fault, _ = await login_at(Open(), WRONG, PRIVATE)
    assert isinstance(fault, faults.UpstreamUnauthorized)


async def test_a_wrong_password_that_hears_404_as_strangers_do_is_not_called_right() -> None:
    fault, unproven = await login_at(Open(refusal=404), WRONG, PRIVATE)
    assert fault is None
    assert "nothing tells whether the login is right" in unproven


async def test_an_image_that_strangers_may_read_proves_nothing_and_the_next_place_is_asked() -> None:
    for credentials in (CREDENTIALS, WRONG):
        fault, unproven = await login_at(Open(), credentials, PUBLIC)
        assert (fault, "strangers may read public/api on registry.test, too" in unproven) == (None, True)
    assert await login_at(Open(), CREDENTIALS, PUBLIC, PRIVATE) == (None, "")
    fault, _ = await login_at(Open(), WRONG, PUBLIC, PRIVATE)
    assert isinstance(fault, faults.UpstreamUnauthorized)


async def test_an_upstream_that_fails_during_the_trial_is_no_proof() -> None:
    registry = Open()
    right = registry.stage.script
    registry.stage.script = lambda request: (
        right(request) if request.path == "/v2/" or "Authorization" in request.headers else Reply(500)
    )
    fault, unproven = await login_at(registry, CREDENTIALS, PRIVATE)
    assert (fault, unproven) == (None, "the login was not tried: registry.test answered 500")


async def test_a_token_server_that_takes_the_login_is_proof_though_the_image_is_refused() -> None:
    def script(request: web.Request) -> Reply:
        if request.path == "/token":
            return token_reply() if request.headers.get("Authorization", BASIC) == BASIC else Reply(401)
        challenge = {"WWW-Authenticate": f'Bearer realm="{stage.url}/token"'}
        return Reply(200, b"{}") if request.path == "/v2/" else Reply(401, b"", challenge)

    async with Stage(script) as stage:
        right = await check_login(stage.config(credentials=CREDENTIALS), places=[PRIVATE])
        assert (right.fault, right.unproven) == (None, "")
        wrong = await check_login(stage.config(credentials=WRONG), places=[PRIVATE])
        assert isinstance(wrong.fault, faults.UpstreamUnauthorized)


async def test_a_ping_that_asks_for_the_login_is_proof_enough() -> None:
    def script(request: web.Request) -> Reply:
        known = request.headers.get("Authorization") == BASIC
        return Reply(200, b"{}") if known else Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    async with Stage(script) as stage:
        assert (await check_login(stage.config(credentials=CREDENTIALS))).authenticated
        assert len(stage.asked) == 2


async def test_without_credentials_there_is_nothing_to_prove() -> None:
    async with Open().stage as stage:
        assert (await check_login(stage.config(), places=[PRIVATE])).authenticated
        assert [asked.path for asked in stage.asked] == ["/v2/"]


def test_the_login_is_tried_at_the_image_and_at_repositories_without_wildcards() -> None:
    found = places_of("quay.io", "quay.io/my-org/a:1", ["my-org/**", "my-org/b", "a?", "my-org/a", "UPPER"])
    assert found == (Place("my-org/a", "1"), Place("my-org/b"))
    assert places_of("quay.io", "no such:image:", ["**"]) == ()
    assert len(places_of("quay.io", None, [f"my-org/{n}" for n in range(100)])) == 3


# --- registry test, step by step


async def steps(registry: Open, credentials: Credentials, image: Image | None, *names: str) -> list[DiagnosedStep]:
    async with registry.stage as stage:
        config = stage.config(credentials=credentials)
        # The steps dial the host itself.
        config = dataclasses.replace(config, host=stage.host)
        return [step async for step in diagnose(config, image, names)]


async def test_the_steps_name_a_login_that_nothing_proves_and_go_on() -> None:
    found = await steps(Open(), WRONG, Image("public/api", "latest"))
    assert [step.name for step in found] == ["name", "connection", "ping", "login", "image"]
    login, image = found[3:]
    assert (login.passed, login.unproven, login.text[:12]) == (False, True, "not proven: ")
    assert image.passed


async def test_the_steps_prove_a_login_by_the_image_or_the_registrys_own_repository() -> None:
    for image, names in ((Image("private/api", "1"), ()), (None, ("private/api",))):
        assert all(step.passed for step in await steps(Open(), CREDENTIALS, image, *names))
        wrong = (await steps(Open(), WRONG, image, *names))[-1]
        assert (wrong.name, type(wrong.fault)) == ("login", faults.UpstreamUnauthorized)
