"""`login` of the clients that ask the registry whether a password is right."""

from __future__ import annotations

from pathlib import Path

from tests.support.clients.command import Pull, run
from tests.support.clients.docker import Docker
from tests.support.tools import tool

LOGINS = ("docker", "skopeo", "podman", "oras", "helm")
"""crane has `auth login` too, but it only writes the password down; ctr and curl have none."""


async def login(client: object, host: str, username: str, password: str, directory: Path) -> Pull:
    """Log in to `host` with `client`, one of LOGINS, and a new config.json; the password goes by stdin."""
    directory.mkdir(parents=True, exist_ok=True)
    command = _command(client, directory)
    env = {"TMPDIR": str(directory), "HELM_CONFIG_HOME": str(directory), "HELM_CACHE_HOME": str(directory)}
    return await run([*command, "--username", username, "--password-stdin", host], env=env, stdin=password)


def _command(client: object, directory: Path) -> list[str | Path]:
    if isinstance(client, Docker):
        return [tool("docker"), "--config", directory, "--host", f"unix://{client.socket}", "login"]
    name = str(getattr(client, "name", ""))
    config = directory / "config.json"
    match name:
        case "skopeo" | "podman":
            return [tool(name), "login", "--tls-verify=false", "--authfile", config]
        case "oras":
            return [tool(name), "login", "--plain-http", "--registry-config", config]
        case "helm":
            return [tool(name), "registry", "login", "--plain-http", "--registry-config", config]
    raise ValueError(f"{name} has no login that asks the registry")
