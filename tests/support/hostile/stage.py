"""A cluster with Pullgate, a good app and two hostile ones: `stage_on`, then `attack`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.pullgate import World, key_of, license_, registry, secret, wait_for, world_on
from tests.support.cluster.wait import until
from tests.support.gate import Document
from tests.support.hostile.app import (
    CLAIMER,
    EVE,
    RESERVED,
    RESERVED_DOMAINS,
    RULED,
    SLOW_LICENSES,
    build_basis,
    build_burden,
    build_registry,
)
from tests.support.hostile.clients import Target
from tests.support.hostile.good import GoodClient, Way
from tests.support.hostile.process import WRITING, Order, Seen
from tests.support.images import Image, image

EXTERNAL = "images.example"
"""The proxy's own host."""
DOMAIN = "pulls.good.example"
"""The good app's."""
REPOSITORY = "my-org/api"
IMAGES = 6
LAYERS, LAYER_SIZE = 3, 300_000
MEMORY = 1024
"""MiB of the proxy, as deploy/ gives it."""
NETWORKS = "pullgate.dev/private-networks=127.0.0.0/8"
SOURCES = ("127.0.0.2", "127.0.0.3")


class HostileApp:
    """A hostile app's namespace, its owner's rights there, and its process."""

    def __init__(self, cluster: Kubectl, directory: Path, number: int, blobs: dict[str, int]) -> None:
        self.source = SOURCES[number]
        self.namespace = f"evil-{number + 1}-{secrets.token_hex(3)}"
        create_namespace(cluster, self.namespace)
        cluster.kubectl("create", "serviceaccount", "owner", "-n", self.namespace)
        account = f"--serviceaccount={self.namespace}:owner"
        cluster.kubectl("create", "rolebinding", "owner", "-n", self.namespace, "--clusterrole=edit", account)
        folder = directory / self.namespace
        folder.mkdir()
        self.owner = Kubectl()
        self.owner.kubeconfig = cluster.kubeconfig_of(self.namespace, "owner", folder)
        # Kubernetes gathers what `edit` means in a controller of its own, some time after the ClusterRoles came.
        for verb in ("get", "create"):
            until(partial(self.owner.kubectl, "auth", "can-i", verb, "registries.pullgate.dev", "-n", self.namespace))
        command = [sys.executable, "-m", "tests.support.hostile.process"]
        with (folder / "stderr").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.hosts: dict[str, str] = self._talk({"blobs": blobs})
        """The hosts of its servers: up, stuck, trap."""
        self.keys: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """The pid of its process."""
        return self._process.pid

    def write(self) -> None:
        """Apply what its clients need, and a Registry that will want the domains of others."""
        host = self.hosts["up"]
        self.owner.apply(build_registry(self.namespace, CLAIMER, host), *build_basis(self.namespace, host))

    def write_all(self) -> None:
        """Apply all else that the app has, and claim the domains of others, and those that are nobody's."""
        host = self.hosts["up"]
        domains = [EXTERNAL, *RESERVED_DOMAINS]
        claims = [
            build_registry(self.namespace, CLAIMER, host, domains=[DOMAIN]),
            build_registry(self.namespace, RESERVED, host, domains=domains),
        ]
        self.owner.apply(*claims, *build_burden(self.namespace, host, self.hosts["stuck"], self.hosts["trap"]))

    def log_in(self) -> None:
        """Take the keys of its own Licenses, as its owner may."""
        names = (EVE, *SLOW_LICENSES, RULED)
        self.keys = {name: until(partial(key_of_license, self.owner, self.namespace, name)) for name in names}

    def begin(self, target: Target, attacks: Sequence[str]) -> None:
        """Attack, until `end`."""
        self._say(asdict(Order(asdict(target), str(self.owner.kubeconfig), list(attacks))))

    def end(self) -> Seen:
        """Stop attacking."""
        return Seen(**self._talk({}))

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=10)

    def _say(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _talk(self, what: object) -> Document:
        assert self._process.stdout is not None
        self._say(what)
        line = self._process.stdout.readline()
        assert line, f"the process of {self.namespace} ended"
        answer: Document = json.loads(line)
        return answer


@dataclass(slots=True)
class Stage:
    """All that runs."""

    world: World
    good: str
    """The good app's namespace."""
    hostile: list[HostileApp]
    images: dict[str, Image]
    """The good app's, by tag."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """How the good app's customers name its images."""
        own = f"{EXTERNAL}:{self.world.proxies[0]}"
        mirror = Way("", own, f"?ns={self.world.upstream.host}")
        return Way(f"proxy/{self.good}/upstream/", own), Way("", DOMAIN), mirror

    def client(self, tags: Sequence[str], at_once: int = 4) -> GoodClient:
        """One that pulls `tags` as the License acme."""
        images = {tag: self.images[tag] for tag in tags}
        key = key_of(self.world, self.good)
        return GoodClient(self.world.proxies[0], key, self.ways, images, REPOSITORY, at_once)

    @contextlib.contextmanager
    def attack(self, attacks: Sequence[str]) -> Iterator[list[Seen]]:
        """Both hostile apps attack while the context is open; then the list holds what they saw."""
        seen: list[Seen] = []
        for app in self.hostile:
            app.begin(self._target(app), attacks)
            if WRITING in attacks:
                app.write_all()
        try:
            yield seen
        finally:
            seen += [app.end() for app in self.hostile]

    def _target(self, app: HostileApp) -> Target:
        return Target(
            port=self.world.proxies[0],
            namespace=app.namespace,
            source=app.source,
            keys=app.keys,
            good=self.good,
            domain=DOMAIN,
            external=EXTERNAL,
            blobs=list(blobs_of(self.images)),
            manifest=f"{REPOSITORY}/manifests/1",
            upstream=self.world.upstream.host,
        )


@contextlib.contextmanager
def stage_on(cluster: Kubectl, directory: Path) -> Iterator[Stage]:
    """Pullgate, the good app with its domain and images, and both hostile apps, whose Registries are older."""
    options = ("--blob-cache", str(directory / "blobs"), "--max-memory", str(MEMORY))
    images = {str(number): image(f"good-{number}", LAYERS, LAYER_SIZE) for number in range(IMAGES)}
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(world_on(cluster, directory, 1, external=EXTERNAL, proxy_options=options))
        hostile = []
        for number in range(len(SOURCES)):
            hostile.append(HostileApp(cluster, directory, number, blobs_of(images)))
            stack.callback(hostile[-1].stop)
            stack.callback(cluster.kubectl, "delete", "namespace", hostile[-1].namespace, "--wait=false")
            hostile[-1].write()
        time.sleep(1.1)  # creationTimestamp has whole seconds
        good = f"good-{secrets.token_hex(3)}"
        create_namespace(cluster, good)
        stack.callback(cluster.kubectl, "delete", "namespace", good, "--wait=false")
        asyncio.run(_push(world, images))
        begin_good(world, good)
        for app in hostile:
            app.log_in()
        yield Stage(world, good, hostile, images)


def begin_good(world: World, namespace: str) -> None:
    """The good app: its Secret, its Registry with the domain, and the License acme, all Ready."""
    upstream = registry(namespace, world.upstream.host)
    upstream["spec"]["domains"] = [DOMAIN]
    world.cluster.apply(secret(namespace, world.upstream.password), upstream, license_(namespace))
    wait_for(world, namespace, "registry/upstream", "Ready")
    wait_for(world, namespace, "license/acme", "Valid")


def create_namespace(cluster: Kubectl, name: str) -> None:
    """A namespace whose upstreams may be on loopback."""
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("annotate", "namespace", name, NETWORKS)


def key_of_license(owner: Kubectl, namespace: str, name: str) -> str:
    """The key in the License's pull Secret, which any editor of the namespace reads. Raises KubectlFailed."""
    data = owner.get("secret", f"{name}-pull", namespace)["data"][".dockerconfigjson"]
    auths = json.loads(base64.b64decode(data))["auths"]
    return str(next(iter(auths.values()))["password"])


def blobs_of(images: dict[str, Image]) -> dict[str, int]:
    """Digest -> size of all blobs."""
    return {digest: len(blob) for one in images.values() for digest, blob in one.blobs.items()}


async def _push(world: World, images: dict[str, Image]) -> None:
    for tag, one in images.items():
        await world.upstream.push(REPOSITORY, tag, one)
