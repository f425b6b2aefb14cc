"""Operators and proxies as processes on a cluster, with exactly the rights of deploy/, before a real registry."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import gate
from tests.support.background import in_background
from tests.support.canaries import look
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.look import look_at_resources
from tests.support.cluster.process import Program
from tests.support.cluster.wait import until
from tests.support.kustomize import DEPLOY
from tests.support.ports import free_port
from tests.support.upstreams.docker_registry import DockerRegistry

SYSTEM = "pullgate-system"
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

Document = dict[str, Any]


@dataclass
class World:
    """Everything that runs."""

    cluster: Kubectl
    upstream: DockerRegistry
    operators: list[Program]
    operator_admin: list[int]
    proxy_programs: list[Program]
    proxies: list[int]
    """Their ports."""
    proxy_admin: list[int]
    proxy_kubeconfig: Path

    @property
    def host(self) -> str:
        """The host that customers pull from: the first proxy's 127.0.0.1:PORT."""
        return f"127.0.0.1:{self.proxies[0]}"


@contextlib.contextmanager
def world_on(
    cluster: Kubectl, directory: Path, replicas: int, *, external: str = "", proxy_options: Sequence[str] = ()
) -> Iterator[World]:
    """`replicas` operators and as many proxies, all ready; their logs are in `directory`, and printed at the end.

    `external` is the name of the proxy's own host, 127.0.0.1 if it is left out; `proxy_options` are further flags.
    """
    cluster.kubectl("apply", "-k", DEPLOY)
    cluster.kubectl("delete", "deployment", "-n", SYSTEM, "pullgate-operator", "pullgate-proxy")
    operator_admin, proxies, proxy_admin = ([free_port() for _ in range(replicas)] for _ in range(3))
    own_host = ("--external-url", f"http://{external or '127.0.0.1'}:{proxies[0]}")
    operator = cluster.kubeconfig_of(SYSTEM, "pullgate-operator", directory)
    proxy = cluster.kubeconfig_of(SYSTEM, "pullgate-proxy", directory)
    operators: list[Program] = []
    programs: list[Program] = []
    with in_background(DockerRegistry("basic")) as upstream:
        try:
            polled = [word for admin in proxy_admin for word in ("--proxy-admin", f"127.0.0.1:{admin}")]
            for n, port in enumerate(operator_admin):
                options = [*own_host, *polled, "--usage-seconds", "1", "--audit-seconds", "60"]
                options += ["--admin", f"127.0.0.1:{port}"]
                operators.append(_start(directory, f"operator-{n}", "operator", operator, *options))
                _wait_until_ready(port)
            for n, port in enumerate(proxies):
                options = [*own_host, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{proxy_admin[n]}"]
                options += proxy_options
                programs.append(_start(directory, f"proxy-{n}", "proxy", proxy, *options))
            for port in proxy_admin:
                _wait_until_ready(port)
            yield World(cluster, upstream, operators, operator_admin, programs, proxies, proxy_admin, proxy)
        finally:
            _look_around(cluster, [*operator_admin, *proxy_admin])
            for program in (*operators, *programs):
                program.stop()
            for log in directory.glob("*.log"):
                print(log.name, log.read_text()[-3000:])


def _look_around(cluster: Kubectl, admin_ports: list[int]) -> None:
    """No secret in metrics, Events, and whatever the cluster holds of Pullgate but Secrets."""
    for port in admin_ports:
        with contextlib.suppress(OSError):  # a test ended it
            look(f"/metrics of port {port}", fetch(f"http://127.0.0.1:{port}/metrics")[1])
    look_at_resources(cluster, "-A")


def apply_vendor(world: World, app: str) -> None:
    """In the namespace `app` a Registry, its Secret and the License acme, all Ready."""
    world.cluster.apply(secret(app, world.upstream.password), registry(app, world.upstream.host), license_(app))
    wait_for(world, app, "registry/upstream", "Ready")
    wait_for(world, app, "license/acme", "Valid")


def secret(app: str, password: str) -> Document:
    """The vendor's credentials."""
    return gate.secret("robot", "puller", password, namespace=app)


def registry(app: str, host: str) -> Document:
    """The Registry `upstream`."""
    return gate.registry("upstream", host, secret="robot", namespace=app)


def license_(app: str, **spec: Any) -> Document:
    """The License acme, of my-org/**."""
    return gate.license_("acme", {"repositories": ["my-org/**"]}, namespace=app, **spec)


def wait_for(world: World, app: str, what: str, condition: str, status: str = "True") -> None:
    """Wait for a condition. Raises KubectlFailed."""
    world.cluster.kubectl("wait", what, "-n", app, f"--for=condition={condition}={status}", "--timeout=45s")


def pull_auths(world: World, app: str) -> dict[str, Document]:
    """Host -> login, of the License's pull Secret."""
    data = world.cluster.get("secret", "acme-pull", app)["data"][".dockerconfigjson"]
    auths: dict[str, Document] = json.loads(base64.b64decode(data))["auths"]
    return auths


def key_of(world: World, app: str) -> str:
    """The key in the pull Secret."""
    return str(next(iter(pull_auths(world, app).values()))["password"])


def fetch(url: str, key: str = "") -> tuple[int, str]:
    """Status and body."""
    headers = {"Accept": ACCEPT}
    if key:
        headers["Authorization"] = "Basic " + base64.b64encode(f"x:{key}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _start(directory: Path, name: str, command: str, kubeconfig: Path, *options: str) -> Program:
    program = Program(
        [sys.executable, "-m", "pullgate_cli", command, "--kubeconfig", kubeconfig, *options], directory / f"{name}.log"
    )
    program.start()
    return program


def _wait_until_ready(admin_port: int) -> None:
    until(lambda: fetch(f"http://127.0.0.1:{admin_port}/readyz")[0] == 200)
