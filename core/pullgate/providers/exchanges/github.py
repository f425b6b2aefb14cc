"""GitHub's container registry: an app's private key -> a token of its installation, for an hour.

GitHub's REST documentation, "Authenticating as a GitHub App" and "Create an installation access token for an app".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.providers.destination import GHE_COM
from pullgate.providers.exchange import CredentialsInvalid, ExchangeFailed, Issued, Reply, Tools
from pullgate.resources.fields import parse_time

_API: Final = "https://api.github.com"
KIND: Final = "GitHubAppToken"
PERMISSIONS: Final = b'{"permissions":{"packages":"read"}}'
"""The token may do no more, whatever the app may."""
_DIGITS = re.compile(r"\d{1,20}\Z")
_APP = re.compile(r"[A-Za-z0-9.]{1,40}\Z")
_HTTPS = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?(/[a-z0-9/]*)?\Z", re.I)
_BACK, _AHEAD = 60, 540
"""Seconds around now: GitHub takes ten minutes at most, and clocks differ."""


@dataclass(frozen=True, slots=True)
class GitHubApp:
    """An installed app."""

    api: str
    app: str
    """Its id, or its client id."""
    installation: str
    key: str = field(repr=False)
    """PEM."""

    @property
    def source(self) -> str:
        """See Exchange."""
        return f"GitHub App {self.app}, installation {self.installation}"

    @property
    def kind(self) -> str:
        """See Exchange."""
        return KIND

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""
        now = int(tools.now().timestamp())
        claims = {"iat": now - _BACK, "exp": now + _AHEAD, "iss": self.app}
        headers = {
            "Authorization": f"Bearer {jwt.encode(claims, self.key, algorithm='RS256')}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "Content-Type": "application/json",
        }
        url = f"{self.api}/app/installations/{self.installation}/access_tokens"
        return self.read(await tools.http.send("POST", url, headers, PERMISSIONS))

    def read(self, reply: Reply) -> Issued:
        """GitHub's answer. Raises ExchangeFailed."""
        if reply.status != 201:
            raise self._refusal(reply)
        try:
            found = read_json(reply.body)
            token, end = str(found["token"]), parse_time(str(found["expires_at"]))
        except (ValueError, KeyError, TypeError):
            raise ExchangeFailed("ExchangeError", "GitHub answered with no token", "check apiURL") from None
        return Issued(Credentials("x-access-token", token, end), KIND)

    def _refusal(self, reply: Reply) -> ExchangeFailed:
        text = _message(reply)
        limited = reply.status == 429 or reply.headers.get("x-ratelimit-remaining") == "0" or "rate limit" in text
        if limited:
            words = "GitHub limits how often it is asked"
            return ExchangeFailed("ExchangeLimited", words, "it is tried again later", retry_after=reply.retry_after)
        if reply.status == 401 and ("issued at" in text or "expiration time" in text):
            return ExchangeFailed("ClockWrong", "GitHub says that the time here is wrong", "set the clock")
        if reply.status == 401:
            return ExchangeFailed(
                "KeysRejected",
                f"GitHub does not take the key of app {self.app}",
                "check appID, or generate a new private key in the app's settings",
            )
        if reply.status == 404:
            return ExchangeFailed(
                "KeysRejected",
                f"app {self.app} has no installation {self.installation}",
                "install the app in the organization, and take the number at the end of the installation's address",
            )
        if reply.status == 422:
            return ExchangeFailed(
                "PermissionMissing",
                f"installation {self.installation} of app {self.app} may not read packages",
                "give the app Packages: Read-only in its settings, and accept that in the organization",
            )
        if reply.status == 403:
            return ExchangeFailed(
                "PermissionMissing",
                f"installation {self.installation} of app {self.app} gives no token",
                "it is suspended, or the app may not read packages: look at the organization's installed apps",
            )
        return ExchangeFailed("ExchangeError", f"GitHub answered {reply.status}", "it is tried again")


def github_api(host: str) -> str | None:
    """The REST API that belongs to the registry at `host`; None for a host that is not GitHub's own."""
    if host == "ghcr.io":
        return _API
    tenant = GHE_COM.fullmatch(host)
    return f"https://api.{tenant['tenant']}.ghe.com" if tenant is not None else None


def registry_of(api: str) -> str:
    """The only registry that a token of `api` is for: ghcr.io, or containers.HOSTNAME of an Enterprise Server.

    GitHub's documentation of the Enterprise Server, "Working with the Container registry".
    """
    name = api.lower().removeprefix("https://").partition("/")[0].partition(":")[0]
    if name == "api.github.com":
        return "ghcr.io"
    return f"containers.{name.removeprefix('api.') if name.endswith('.ghe.com') else name}"


def exchange_of_keys(data: Mapping[str, str], host: str) -> GitHubApp:
    """`KeyExchange.make`."""
    if not _APP.match(data["appID"]):
        raise CredentialsInvalid("appID in it is no id", "take the App ID or Client ID of the app's settings")
    if not _DIGITS.match(data["installationID"]):
        raise CredentialsInvalid(
            "installationID in it is no number", "take the number at the end of the installation's address"
        )
    api = data.get("apiURL", github_api(host) or _API).rstrip("/")
    if not _HTTPS.match(api):
        raise CredentialsInvalid("apiURL in it is no https address", "write it like https://github.example.com/api/v3")
    if host.removesuffix(":443") != registry_of(api):
        raise CredentialsInvalid(
            f"spec.host {host} is not the registry of {api}, and a token of an app goes to no other",
            f"write spec.host {registry_of(api)}, or correct apiURL in the Secret",
        )
    try:
        key = load_pem_private_key(data["privateKey"].encode(), None)
    except (ValueError, TypeError):
        raise CredentialsInvalid(
            "privateKey in it is no key in PEM", "put the whole .pem file that GitHub gave"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise CredentialsInvalid("privateKey in it is no RSA key", "put the .pem file that GitHub gave")
    return GitHubApp(api, data["appID"], data["installationID"], data["privateKey"])


def _message(reply: Reply) -> str:
    try:
        return str(read_json(reply.body)["message"]).lower()
    except (ValueError, KeyError, TypeError):
        return ""
