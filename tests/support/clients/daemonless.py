"""Clients that need no daemon."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Self

from tests.support.clients.command import Pull, docker_config, files_below, hashed, host_of, run
from tests.support.tools import tool

ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


class Daemonless:
    """A context manager with nothing to do."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Skopeo(Daemonless):
    """`skopeo copy` to a directory, every platform."""

    name = "skopeo"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """Pull without a trace of former pulls; no credentials are sent for an empty user."""
        login = docker_config(directory / "login", host_of(reference), username, password)
        target = directory / "image"
        options: list[str | Path] = [
            "--insecure-policy",
            "copy",
            "--all",
            "--src-tls-verify=false",
            "--authfile",
            login,
        ]
        done = await run([tool("skopeo"), *options, f"docker://{reference}", f"dir:{target}"])
        contents = hashed([path for path in files_below(target) if path.name != "version"])
        return Pull(done.exit_code, done.output, contents)


class Podman(Daemonless):
    """`podman pull` into storage of its own."""

    name = "podman"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """See Skopeo.pull. podman keeps layers unpacked: what it tells are the digests that it verified."""
        login = docker_config(directory / "login", host_of(reference), username, password)
        policy = directory / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        with tempfile.TemporaryDirectory(prefix="podman-") as short:  # its runroot may have 50 characters
            base: list[str | Path] = [tool("podman"), "--root", f"{short}/root", "--runroot", f"{short}/run"]
            base += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
            options: list[str | Path] = ["--tls-verify=false", "--signature-policy", policy, "--authfile", login]
            done = await run([*base, "pull", *options, reference], env={"TMPDIR": str(directory)})
            if done.exit_code:
                return done
            shown = await run([*base, "image", "inspect", reference])
        document = json.loads(shown.output)[0]
        return Pull(0, done.output, {document["Digest"]: 0, "sha256:" + document["Id"]: 0})


class Crane(Daemonless):
    """`crane pull` as an OCI layout."""

    name = "crane"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """See Skopeo.pull."""
        login = docker_config(directory / "login", host_of(reference), username, password)
        target = directory / "image"
        command: list[str | Path] = [tool("crane"), "pull", "--insecure", "--format=oci", reference, target]
        done = await run(command, env={"DOCKER_CONFIG": str(login.parent)})
        return Pull(done.exit_code, done.output, hashed(files_below(target / "blobs")))


class Oras(Daemonless):
    """`oras copy` to an OCI layout, every platform."""

    name = "oras"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """See Skopeo.pull."""
        login = docker_config(directory / "login", host_of(reference), username, password)
        target = directory / "image"
        options: list[str | Path] = [
            "--from-plain-http",
            "--from-registry-config",
            login,
            "--to-oci-layout",
            "--no-tty",
        ]
        done = await run([tool("oras"), "copy", *options, reference, f"{target}:latest"])
        return Pull(done.exit_code, done.output, hashed(files_below(target / "blobs")))


class Helm(Daemonless):
    """`helm pull` of a chart."""

    name = "helm"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """See Skopeo.pull."""
        login = docker_config(directory / "login", host_of(reference), username, password)
        target = directory / "chart"
        target.mkdir(parents=True)
        name, _, version = reference.rpartition(":")
        options: list[str | Path] = [
            "--version",
            version,
            "--plain-http",
            "--registry-config",
            login,
            "--destination",
            target,
        ]
        env = {"HELM_CACHE_HOME": str(directory / "cache"), "HELM_CONFIG_HOME": str(directory / "config")}
        done = await run([tool("helm"), "pull", f"oci://{name}", *options], env=env)
        return Pull(done.exit_code, done.output, hashed(files_below(target)))


class Curl(Daemonless):
    """curl by hand: the manifest, then what it names. Prints status line and body, as `curl -i` would."""

    name = "curl"

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """See Skopeo.pull."""
        directory.mkdir(parents=True, exist_ok=True)
        host, _, rest = reference.partition("/")
        repository, _, tag = rest.rpartition(":")
        login = f"{username}:{password}" if username else ""
        contents: dict[str, int] = {}
        waiting = [("manifests", tag)]
        while waiting:
            kind, name = waiting.pop()
            path = directory / f"{kind}-{name.replace(':', '-')}"
            done = await self._get(f"http://{host}/v2/{repository}/{kind}/{name}", login, path)
            if done.exit_code:
                return done
            contents |= hashed([path])
            if kind == "manifests":
                waiting += named_in(path.read_bytes())
        return Pull(0, "", contents)

    async def _get(self, url: str, login: str, path: Path) -> Pull:
        config = f'url = "{url}"\noutput = "{path}"\n'
        if login:
            config += f'user = "{login}"\n'
        headers = path.with_suffix(".headers")
        command: list[str | Path] = [tool("curl"), "-sS", "--config", "-", "-H", f"Accept: {ACCEPT}", "-D", headers]
        done = await run(command, stdin=config)
        status = headers.read_text().splitlines()[0] if headers.exists() else ""
        if done.exit_code:
            return Pull(done.exit_code, f"{status}\n{done.output}")
        if " 200 " not in f"{status} ":
            return Pull(22, f"{status}\n{path.read_text(errors='replace')}")
        return done


def named_in(manifest: bytes) -> list[tuple[str, str]]:
    """(kind, digest) of all that a manifest names."""
    document = json.loads(manifest)
    found = [("manifests", child["digest"]) for child in document.get("manifests", ())]
    blobs = [document["config"], *document.get("layers", ())] if "config" in document else []
    return found + [("blobs", blob["digest"]) for blob in blobs]
