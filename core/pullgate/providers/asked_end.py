"""When a static credential ends, as its provider tells who asks with it. It is shown to that provider alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Http
from pullgate.providers.exchanges.github import github_api

_GITHUB_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (UTC|[+-]\d{4})\Z")


async def ask_github(credentials: Credentials, http: Http, host: str) -> datetime | None:
    """The end of a personal access token: the header github-authentication-token-expiration of any answer."""
    api = github_api(host)
    if api is None or not credentials.password.startswith(("ghp_", "github_pat_")):
        return None
    headers = {"Authorization": f"Bearer {credentials.password}", "Accept": "application/vnd.github+json"}
    try:
        reply = await http.send("GET", f"{api}/rate_limit", headers)
    except ExchangeFailed:
        return None
    return read_github_time(reply.headers.get("github-authentication-token-expiration", ""))


def read_github_time(text: str) -> datetime | None:
    """`2026-12-01 10:00:00 UTC` or `… +0200`."""
    found = _GITHUB_TIME.match(text)
    if found is None:
        return None
    zone = "+0000" if found[2] == "UTC" else found[2]
    try:
        return datetime.strptime(f"{found[1]} {zone}", "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


async def ask_gitlab(credentials: Credentials, http: Http, host: str) -> datetime | None:
    """The end of a personal, group or project access token of gitlab.com (a deploy token tells nothing).

    GitLab's REST documentation, "Get details on a personal access token": it serves until the day begins, in UTC.
    """
    if host != "registry.gitlab.com" or not credentials.password.startswith("glpat-"):
        return None
    url = "https://gitlab.com/api/v4/personal_access_tokens/self"
    try:
        reply = await http.send("GET", url, {"PRIVATE-TOKEN": credentials.password})
        day = str(read_json(reply.body)["expires_at"]) if reply.status == 200 else ""
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) if day else None
    except (ExchangeFailed, ValueError, KeyError, TypeError):
        return None
