"""The logins of docker on this machine: config.json, its credential store and helpers.

Source: docker's documentation of config.json, and the protocol of docker-credential-helpers (`get`: the server's URL on
standard input, JSON with Username and Secret on standard output).
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from pathlib import Path
from typing import Any

from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.resources.fields import canonical_host
from pullgate_cli.place.port import PlaceError

CONFIG_LIMIT = 1024 * 1024
HELPER_SECONDS = 20.0
HUB_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


class DockerLogins:
    """The logins that `docker login` stored."""

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self._config, self._path = config, path

    @classmethod
    def load(cls) -> DockerLogins:
        """$DOCKER_CONFIG/config.json or ~/.docker/config.json; no logins if there is none. Raises PlaceError."""
        path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
        try:
            with path.open("rb") as file:
                return cls.read(file.read(CONFIG_LIMIT), path)
        except FileNotFoundError:
            return cls({}, path)
        except OSError as error:
            raise PlaceError(f"{path} cannot be read: {error.strerror}") from error

    @classmethod
    def read(cls, data: bytes, path: Path) -> DockerLogins:
        """The content of the file `path`. Raises PlaceError."""
        try:
            config = read_json(data)
        except ValueError as error:
            raise PlaceError(f"{path} cannot be read as JSON; mend it, or log in again") from error
        if not isinstance(config, dict):
            raise PlaceError(f"{path} holds no object; log in again")
        for name in ("auths", "credHelpers"):
            if not isinstance(config.get(name) or {}, dict):
                raise PlaceError(f"{path}: {name} is no object; log in again")
        return cls(config, path)

    async def find(self, host: str) -> Credentials | None:
        """The login for `host` (canonical); None if there is none. Raises PlaceError for a helper that fails."""
        helper = (self._config.get("credHelpers") or {}).get(host) or self._config.get("credsStore")
        if helper:
            found = await self._ask(str(helper), HUB_KEY if host == "docker.io" else host)
            if found is not None:
                return found
        for key, entry in (self._config.get("auths") or {}).items():
            if _host_of(str(key)) == host and isinstance(entry, dict):
                return self._read(entry)
        return None

    def _read(self, entry: dict[str, Any]) -> Credentials | None:
        user, password = entry.get("username"), entry.get("password")
        if entry.get("auth") and not (user and password):
            try:
                user, _, password = base64.b64decode(str(entry["auth"])).decode().partition(":")
            except ValueError as error:
                raise PlaceError(f"{self._path}: an auth is no base64; log in again") from error
        return Credentials(str(user), str(password)) if user and password else None

    async def _ask(self, helper: str, server: str) -> Credentials | None:
        if not _HELPER.match(helper):
            raise PlaceError(f"{self._path}: {helper!r} is no credential helper's name")
        program = f"docker-credential-{helper}"
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise PlaceError(f"{self._path} names {program}, which cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(HELPER_SECONDS):
                output, _ = await process.communicate(server.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise PlaceError(f"{program} did not answer in {HELPER_SECONDS:g} s") from None
        if process.returncode != 0:
            return None  # "credentials not found in native keychain", in as many words as there are helpers
        try:
            answer = read_json(output)
            return Credentials(str(answer["Username"]), str(answer["Secret"])) if answer.get("Secret") else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlaceError(f"{program} gave an answer that is no login") from error


def _host_of(key: str) -> str:
    """The host of a key such as https://index.docker.io/v1/ or quay.io."""
    return canonical_host(key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0])
