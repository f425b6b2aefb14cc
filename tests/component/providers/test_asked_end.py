"""GitHub and GitLab are asked when a token ends; it is shown to nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.providers.asked_end import ask_github, ask_gitlab, read_github_time
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Reply

END = datetime(2026, 12, 1, 10, tzinfo=UTC)


class Provider:
    """Answers, and remembers who was asked with what."""

    def __init__(self, reply: Reply | None) -> None:
        self.reply = reply
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | bytes | None = None
    ) -> Reply:
        """See Http."""
        self.asked.append((url, headers))
        if self.reply is None:
            raise ExchangeFailed("ExchangeUnreachable", "away", "wait")
        return self.reply


def github(text: str) -> Provider:
    return Provider(Reply(200, {"github-authentication-token-expiration": text}, b"{}"))


async def test_github_tells_the_end_of_a_token_in_a_header() -> None:
    provider = github("2026-12-01 10:00:00 UTC")
    assert await ask_github(Credentials("bot", "ghp_CANARY"), provider, "ghcr.io") == END
    assert provider.asked[0][0] == "https://api.github.com/rate_limit"
    assert await ask_github(Credentials("bot", "ghp_CANARY"), github("2026-12-01 12:00:00 +0200"), "ghcr.io") == END


async def test_a_ghe_com_tenant_tells_the_end_at_its_own_api() -> None:
    provider = github("2026-12-01 10:00:00 UTC")
    assert await ask_github(Credentials("bot", "ghp_CANARY"), provider, "containers.octo-corp.ghe.com") == END
    assert provider.asked[0][0] == "https://api.octo-corp.ghe.com/rate_limit"


@pytest.mark.parametrize(
    ("password", "host"),
    [
        ("ghp_CANARY", "ghcr.example.com"),
        ("CANARY", "ghcr.io"),
        ("ghp_CANARY", "containers.ghe.com"),
        ("ghp_CANARY", "containers.a.b.ghe.com"),
        ("ghp_CANARY", "containers.a.ghe.com.example.com"),
        ("ghp_CANARY", "containers.a.ghe.com:444"),
        ("ghp_CANARY", "containers.-a.ghe.com"),
    ],
)
async def test_no_other_password_is_shown_to_github(password: str, host: str) -> None:
    provider = github("2026-12-01 10:00:00 UTC")
    assert await ask_github(Credentials("bot", password), provider, host) is None
    assert not provider.asked


async def test_gitlab_tells_the_end_of_an_access_token() -> None:
    provider = Provider(Reply(200, {}, json.dumps({"expires_at": "2026-12-01"}).encode()))
    found = await ask_gitlab(Credentials("bot", "glpat-CANARY"), provider, "registry.gitlab.com")
    assert found == datetime(2026, 12, 1, tzinfo=UTC)
    assert provider.asked == [
        ("https://gitlab.com/api/v4/personal_access_tokens/self", {"PRIVATE-TOKEN": "glpat-CANARY"})
    ]


@pytest.mark.parametrize(
    ("password", "host"), [("glpat-CANARY", "registry.example.com"), ("gldt-CANARY", "registry.gitlab.com")]
)
async def test_no_other_token_is_shown_to_gitlab(password: str, host: str) -> None:
    provider = Provider(Reply(200, {}, b"{}"))
    assert await ask_gitlab(Credentials("bot", password), provider, host) is None
    assert not provider.asked


NOTHING = [None, Reply(401, {}, b"{}"), Reply(200, {}, b"x"), Reply(200, {}, b'{"expires_at": null}')]


@pytest.mark.parametrize("reply", NOTHING)
async def test_what_is_not_told_is_not_known(reply: Reply | None) -> None:
    assert await ask_github(Credentials("b", "ghp_CANARY"), Provider(reply), "ghcr.io") is None
    assert await ask_gitlab(Credentials("b", "glpat-CANARY"), Provider(reply), "registry.gitlab.com") is None


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (UTC|[+-]\d{4})", fullmatch=True))
def test_no_header_breaks_the_reading(text: str) -> None:
    read_github_time(text)
