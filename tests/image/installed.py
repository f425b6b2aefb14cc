"""Pullgate as docs/install.md installs it, from the image of this checkout, on a whole cluster."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import ssl
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.image.conftest import Image
from tests.support import canaries, gate, tracebacks
from tests.support.background import in_background
from tests.support.cluster.pullgate import ACCEPT, SYSTEM, license_
from tests.support.cluster.wait import until
from tests.support.cluster.whole import WholeCluster, whole_cluster
from tests.support.install_page import commands, reader_folder, run, yaml_block
from tests.support.tls import Authority
from tests.support.upstreams.docker_registry import DockerRegistry

NAME = "registry.example.com/pullgate:0.1.0"
"""The image's, in the page's overlay."""
EXAMPLE_URL = "https://images.example.com"
"""The external URL in the page's overlay."""
DEPLOYMENTS = ("pullgate-operator", "pullgate-proxy")
UPSTREAM_PORT = 443
"""The policies of deploy/ let pods out to 443 and 6443."""
LOOK_SECONDS = 0.2

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installed:
    """The running installation, with helpers for tests."""

    whole: WholeCluster
    folder: Path
    """The reader's working directory, with deploy/ and overlay/."""
    upstream: DockerRegistry
    upstream_authority: Authority
    authority: Authority
    """The CA of the proxy's certificate."""

    @property
    def host(self) -> str:
        """The host that customers pull from."""
        return self.whole.network.balancer

    def kubectl(self, *words: str) -> str:
        """Run kubectl; return its output. Raises KubectlFailed."""
        return self.whole.plane.kubectl(*words)

    def change_overlay(self, *, component: str, patches: list[Document]) -> None:
        """Name one more component in the overlay, add patches for both Deployments, and apply it."""
        path = self.folder / "overlay" / "kustomization.yaml"
        overlay = yaml.safe_load(path.read_text())
        overlay["components"].append(f"../deploy/components/{component}")
        target = {"kind": "Deployment", "labelSelector": "app.kubernetes.io/part-of=pullgate"}
        overlay["patches"].append({"target": target, "patch": json.dumps(patches)})
        path.write_text(yaml.safe_dump(overlay))
        run(self.whole.plane, self.folder, "kubectl apply -k overlay")
        self.wait_until_rolled_out()

    def wait_until_rolled_out(self) -> None:
        """As the page waits."""
        run(self.whole.plane, self.folder, commands("## Install")[-1])

    def pods(self, deployment: str) -> list[Document]:
        """The pods of a Deployment that do not end."""
        selector = f"app.kubernetes.io/name={deployment}"
        found = json.loads(self.kubectl("get", "pods", "-n", SYSTEM, "-l", selector, "-o", "json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, deployment: str, number: int) -> list[Document]:
        """Its pods, if there are so many and all are ready; else none."""
        pods = self.pods(deployment)
        ready = [container["ready"] for pod in pods for container in pod["status"].get("containerStatuses", ())]
        return pods if ready == [True] * number else []

    def process_of(self, pod: Document) -> Path:
        """/proc/PID of the pod's container."""
        container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        return Path("/proc") / str(self.whole.node.pid_of(container))

    def apply_app(self, app: str) -> None:
        """The namespace `app` with a Registry; its Secrets are the upstream's login and CA."""
        upstream = self.upstream
        self.kubectl("create", "namespace", app)
        self.kubectl("annotate", "namespace", app, f"pullgate.dev/private-networks={upstream.host.partition(':')[0]}")
        ca = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ca", "namespace": app},
            "stringData": {"ca.crt": self.upstream_authority.pem},
        }
        registry = gate.registry(
            "upstream",
            upstream.host,
            secret="robot",
            plain_http=False,
            tls={"caSecretRef": {"name": "ca"}},
            namespace=app,
        )
        self.whole.plane.apply(ca, gate.secret("robot", "puller", upstream.password, namespace=app), registry)
        self.wait_for(app, "registry/upstream", "Ready")

    def apply_license(self, app: str, name: str) -> None:
        """A License of my-org/**."""
        document = license_(app)
        document["metadata"]["name"] = name
        self.whole.plane.apply(document)

    def wait_for(self, app: str, what: str, condition: str, seconds: int = 45) -> None:
        """Wait until a condition is True. Raises KubectlFailed."""
        self.kubectl("wait", what, "-n", app, f"--for=condition={condition}", f"--timeout={seconds}s")

    def key_of(self, app: str, license_name: str) -> str:
        """The key in the License's pull Secret."""
        data = self.whole.plane.get("secret", f"{license_name}-pull", app)["data"][".dockerconfigjson"]
        auths = json.loads(base64.b64decode(data))["auths"]
        return str(auths[self.host]["password"])

    def reference(self, app: str, repository: str) -> str:
        """The image reference that a customer pulls."""
        return f"{self.host}/proxy/{app}/upstream/{repository}:1"

    def pull(self, app: str, repository: str, key: str, rate: int = 0) -> None:
        """Manifest and all blobs, each checked and each by a connection of its own; `rate` is in bytes a second.

        Does not retry. Raises OSError, and AssertionError if the bytes are wrong.
        """
        root = f"https://{self.host}/v2/proxy/{app}/upstream/{repository}"
        manifest = json.loads(self.get(f"{root}/manifests/1", key))
        for described in (manifest["config"], *manifest["layers"]):
            data = self.get(f"{root}/blobs/{described['digest']}", key, rate)
            assert described["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"

    def get(self, url: str, key: str, rate: int = 0) -> bytes:
        """The body. Raises OSError (HTTPError) for every answer but a success."""
        login = base64.b64encode(f"x:{key}".encode()).decode()
        headers = {"Accept": ACCEPT, "Authorization": f"Basic {login}"}
        context = ssl.create_default_context(cadata=self.authority.pem)
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30, context=context) as body:
            return slowly(body, rate) if rate else bytes(body.read())

    def pod(self, app: str, license_name: str, repository: str) -> Document:
        """A customer's pod with the License's pull Secret."""
        container = {"name": "main", "image": self.reference(app, repository), "imagePullPolicy": "Always"}
        spec: Document = {
            "imagePullSecrets": [{"name": f"{license_name}-pull"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": license_name, "namespace": app}, "spec": spec}


def slowly(body: Any, rate: int) -> bytes:
    """All of `body`, read at about `rate` bytes a second."""
    pause, found = threading.Event(), []
    while chunk := body.read(rate // 10):
        found.append(chunk)
        pause.wait(0.1)
    return b"".join(found)


@contextlib.contextmanager
def installed_pullgate(image: Image) -> Iterator[Installed]:
    """The page's commands, and what it leaves to the reader: the external URL, a certificate, a load balancer."""
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(whole_cluster())
        authority, upstream_authority = (
            Authority("The proxy's CA"),
            Authority("The upstream's CA", identifiers=False),
        )
        registry = DockerRegistry("basic", bind=whole.network.host, port=UPSTREAM_PORT, authority=upstream_authority)
        upstream = stack.enter_context(in_background(registry))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pullgate-reader-")))
        found = Installed(whole, reader_folder(folder), upstream, upstream_authority, authority)
        whole.node.take_image(image.archive, image.name, NAME)
        whole.node.trust(found.host, authority.pem)
        stack.enter_context(_kept_logs(whole))
        _settle(found)
        for command in commands("## Install")[:-1]:
            run(whole.plane, folder, command)
        _give_certificate_and_address(found)
        try:
            found.wait_until_rolled_out()
            yield found
        except BaseException:
            print(found.kubectl("get", "pods,events", "-A"))
            raise


def _settle(found: Installed) -> None:
    """Make the page's overlay the reader's own: TLS by the proxy itself, at a load balancer's address, and peers."""
    path = found.folder / "overlay" / "kustomization.yaml"
    text = path.read_text()
    assert EXAMPLE_URL in text
    overlay = yaml.safe_load(text.replace(EXAMPLE_URL, f"https://{found.host}"))
    own = yaml.safe_load(yaml_block("# overlay/kustomization.yaml, beside what is there"))
    own["components"].append("../deploy/components/peers")
    path.write_text(yaml.safe_dump(overlay | own))


def _give_certificate_and_address(found: Installed) -> None:
    """The certificate as the page says, and the address as a cloud does."""
    plane = found.whole.plane
    found.authority.write_pair(found.folder, [found.host])
    for command in commands("## Let customers in", 0):
        run(plane, found.folder, command)
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": found.host}]}}})
    patch = ("--subresource=status", "--type=merge", f"--patch={status}")
    plane.kubectl("patch", "service", "pullgate-proxy", "-n", SYSTEM, *patch)


@contextlib.contextmanager
def _kept_logs(whole: WholeCluster) -> Iterator[None]:
    """Search the logs of Pullgate's containers for secrets and tracebacks; a kubelet deletes them with their pods."""
    ended = threading.Event()
    with tempfile.TemporaryDirectory(prefix="pullgate-logs-") as name:
        kept = Path(name)

        def keep() -> None:
            for log in whole.node.logs.glob(f"{SYSTEM}_*/*/*.log"):
                with contextlib.suppress(OSError):  # it is kept already, or gone
                    os.link(log, kept / "_".join(log.relative_to(whole.node.logs).parts))

        def keep_on() -> None:
            while not ended.wait(LOOK_SECONDS):
                keep()

        thread = threading.Thread(target=keep_on, name="logs of pods", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            keep()
            for log in sorted(kept.iterdir()):
                text = without_prefix(log.read_text(errors="replace"))
                print(log.name, text[-2000:])
                canaries.look(log.name, text)
                tracebacks.look(log.name, text)


def without_prefix(log: str) -> str:
    """A container's output: the kubelet's log without the time, stream and tag before each line."""
    return "\n".join(line.split(" ", 3)[-1] for line in log.splitlines())


def uid_of(process: Path) -> tuple[int, int]:
    """User and group of /proc/PID."""
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    return int(status["Uid"].split()[0]), int(status["Gid"].split()[0])


def root_is_read_only(process: Path) -> bool:
    """True if the root file system of /proc/PID is read-only."""
    root = next(line for line in (process / "mountinfo").read_text().splitlines() if line.split()[4] == "/")
    return "ro" in root.split()[5].split(",")


def wait_until_gone(found: Installed, pods: list[Document]) -> None:
    """Wait until none of `pods` exists."""
    names = {pod["metadata"]["name"] for pod in pods}

    def gone() -> bool:
        there = found.kubectl("get", "pods", "-n", SYSTEM, "-o", "name")
        return not names & {line.removeprefix("pod/") for line in there.splitlines()}

    until(gone, 90)
