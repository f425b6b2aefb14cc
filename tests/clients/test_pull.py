"""Every client pulls from every upstream as a license, and what arrives are the upstream's own bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.catalog import API, CHART, STABLE, WORKER, catalog
from tests.support.clients import Client
from tests.support.clients.containerd import Containerd
from tests.support.gate import APP, license_, registry, running, secret
from tests.support.images import Image
from tests.support.upstreams import DockerRegistry

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]

VERIFIED_BY_ITSELF = {"docker", "podman"}
"""They keep layers unpacked: they tell the digests of manifest and config, and have hashed every layer on its way."""


@pytest.fixture(params=["basic", "token"])
def upstream(request: pytest.FixtureRequest) -> DockerRegistry:
    """A real registry with Basic, or with token authentication."""
    found: DockerRegistry = request.getfixturevalue(f"docker_registry_{request.param}")
    return found


def expected(image: Image, client: Client) -> set[str]:
    """The digests that have to arrive: all platforms, or the one that the client chooses."""
    everything = {manifest.digest for manifest in image.walk()} | {b for m in image.walk() for b in m.blobs}
    if client.name in {"skopeo", "oras", "curl"} or not image.children:
        return everything
    chosen = next(child for child in image.children if child.platform == "linux/amd64")
    return {chosen.digest, *chosen.blobs}


@pytest.mark.parametrize(
    ("repository", "tag"), [(WORKER, "1.0.0"), (WORKER, "docker"), (API, STABLE)], ids=["OCI", "schema 2", "index"]
)
async def test_an_image_arrives_whole(
    client: Client, upstream: DockerRegistry, repository: str, tag: str, tmp_path: Path
) -> None:
    image = catalog()[repository, tag]
    if client.name == "helm":
        repository, tag, image = CHART, "0.1.0", catalog()[CHART, "0.1.0"]
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme", {"registry": "upstream", "repositories": ["my-org/*", "charts/**"]}),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        reference = f"{gate.host}/proxy/{APP}/upstream/{repository}:{tag}"
        pulled = await client.pull(reference, "acme", gate.key("acme"), tmp_path / "pulled")
    assert pulled.exit_code == 0, pulled.output
    if client.name in VERIFIED_BY_ITSELF:
        manifests = {m.digest for m in image.walk()}
        configs = {m.config for m in image.walk() if not m.children}
        assert set(pulled.contents) <= manifests | configs
        assert manifests & set(pulled.contents)
        assert configs & set(pulled.contents)
    elif client.name == "kubelet":  # containerd fetches no layer anew that it has unpacked for an earlier pod
        assert {manifest.digest for manifest in image.walk()} & set(pulled.contents)
    elif client.name == "helm":
        assert set(image.layers) <= set(pulled.contents)
    else:
        assert expected(image, client) <= set(pulled.contents)
        assert all(
            pulled.contents[d] == len(b) for m in image.walk() for d, b in m.blobs.items() if d in pulled.contents
        )


async def test_under_a_tag_rule_the_clients_find_their_digests_and_blobs(
    client: Client, docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    upstream = docker_registry_basic
    repository, tag, other = (CHART, "0.1.0", "0.2.0") if client.name == "helm" else (API, STABLE, "2.0.0")
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme", {"repositories": ["**"], "tags": {"match": [tag]}}),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        base, key = f"{gate.host}/proxy/{APP}/upstream/{repository}", gate.key("acme")
        pulled = await client.pull(f"{base}:{tag}", "acme", key, tmp_path / "allowed")
        assert pulled.exit_code == 0, pulled.output
        refused = await client.pull(f"{base}:{other}", "acme", key, tmp_path / "refused")
        assert refused.exit_code != 0
        assert f"license acme does not cover proxy/{APP}/upstream/{repository}:{other}" in refused.output


async def test_containerd_pulls_by_the_original_name_with_the_proxy_as_its_mirror(
    client: Client, docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    if not isinstance(client, Containerd):
        return  # hosts.toml is containerd's
    upstream = docker_registry_basic
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme"),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        hosts = tmp_path / "hosts" / upstream.host
        hosts.mkdir(parents=True)
        mirror = f'[host."{gate.url}"]\n  capabilities = ["pull", "resolve"]\n'
        (hosts / "hosts.toml").write_text(f'server = "http://{upstream.host}"\n{mirror}')
        reference, key = f"{upstream.host}/{WORKER}:1.0.0", gate.key("acme")
        pulled = await client.pull(reference, "acme", key, tmp_path / "pulled", hosts=tmp_path / "hosts")
        assert pulled.exit_code == 0, pulled.output
        assert {r["status"] for r in gate.records() if r["kind"] == "blobs"} == {200}
