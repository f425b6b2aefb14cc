"""A pod on a real node: what a person reads in `kubectl describe pod` when its image cannot be pulled."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Self

from tests.support.clients.command import Pull, docker_config, hashed, host_of
from tests.support.cluster.control_plane import control_plane
from tests.support.cluster.node import Node, node
from tests.support.cluster.wait import until

NAMESPACE = "default"


class Kubelet:
    """A pod with a pull Secret, on a cluster and a node of its own. Each pull is of a new pod."""

    name = "kubelet"

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._stack = contextlib.ExitStack()
        self._node: Node

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stack.close)

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """Pull without a trace of former pulls; the output is the event's message. No Secret for an empty user."""
        login = docker_config(directory, host_of(reference), username, password)
        return await asyncio.to_thread(self._pull, reference, login if username else None)

    def _start(self) -> None:
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pullgate-plane-"))
            plane = stack.enter_context(control_plane(Path(directory)))
            self._node = stack.enter_context(node(plane))
            plane.kubectl("wait", "serviceaccount/default", "-n", NAMESPACE, "--for=create", "--timeout=45s")
            self._stack = stack.pop_all()

    def _pull(self, reference: str, login: Path | None) -> Pull:
        name, plane = f"pull-{next(self._numbers)}", self._node.plane
        before = {path.name for path in self._node.blobs()}
        if login is not None:
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": base64.b64encode(login.read_bytes()).decode()},
            }
            plane.apply(secret)
        plane.apply(self._node.pod(name, NAMESPACE, reference, pull_secret=name if login else ""))
        try:
            event = until(lambda: self._node.pull_event(name, NAMESPACE))
        finally:
            plane.kubectl("delete", "pod", name, "-n", NAMESPACE, "--force", "--grace-period=0")
        # Blobs of an earlier pull are not fetched again; a pull that succeeded has all of them.
        contents = hashed([path for path in self._node.blobs() if path.name not in before or event.pulled])
        self._node.remove_images()
        return Pull(0 if event.pulled else 1, event.message, contents)
