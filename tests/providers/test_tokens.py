"""Keys and identities that become tokens, through the whole of Pullgate: pulled with, renewed, refused by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from pullgate.tls_context import client_context
from tests.component.providers.conftest import clouds
from tests.component.providers.test_aws import ENVIRONMENT
from tests.component.providers.test_github import KEY, pem
from tests.providers.stage import LARGE, SMALL, TIMEOUTS, opaque
from tests.support.cli import pullgate
from tests.support.clients.daemonless import Crane, Skopeo
from tests.support.fakes.clouds.aws import ScriptedAws
from tests.support.fakes.clouds.scripted import ScriptedClouds
from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Front
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.proven import prove, prove_kind
from tests.support.tls import LOOPBACK

__all__ = ["clouds"]

pytestmark = pytest.mark.asyncio

UP = Key("Registry", APP, "up")
ROLE = "arn:aws:iam::123456789012:role/puller"
KEYS = {"accessKeyID": "AKIACANARYID", "secretAccessKey": "CANARY-KEY", "region": "eu-central-1"}
TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"


@pytest_asyncio.fixture
async def aws(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptedAws]:
    for name in ENVIRONMENT.split():
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path_factory.mktemp("aws")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with ScriptedAws() as scripted:
        monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{scripted.url}/pod")
        yield scripted


NAMES = {
    "ECR": "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    "ECRPublic": "public.ecr.aws",
    "ACR": "myregistry.azurecr.io",
    "GHCR": "ghcr.io",
    "GAR": "europe-west1-docker.pkg.dev",
    "GCR": "gcr.io",
}


@dataclass(frozen=True, slots=True)
class Public:
    """The providers' own names, which the egress proxy of this test leads to its fronts."""

    clouds: ScriptedClouds
    held: str

    @contextlib.asynccontextmanager
    async def front(self, type_: str, flavour: str = "") -> AsyncIterator[Front]:
        """The registry of `type_`, by TLS and its real name."""
        name, tunnel = NAMES[type_], self.clouds.tunnel
        assert tunnel is not None
        tls = self.clouds.authority.server([*LOOPBACK, name])
        async with Front(FLAVOURS[flavour or type_], self.held, tls, name) as front:
            tunnel.places[name] = front.host
            yield front


@pytest.fixture
def public(
    clouds: ScriptedClouds, held: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Public]:
    """The clouds' certificates are the system's: no Registry names a CA."""
    bundle = tmp_path_factory.mktemp("system") / "ca.pem"
    bundle.write_text(clouds.authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    client_context.cache_clear()
    yield Public(clouds, held)
    client_context.cache_clear()


def vendor(type_: str, front: Front, credentials: dict[str, Any]) -> dict[str, Any]:
    """A Registry with these credentials."""
    found = registry("up", front.name, type=type_, plain_http=False, network={"allowPrivate": True})
    found["spec"]["credentials"] = credentials
    return found


@contextlib.asynccontextmanager
async def gate_of(directory: Path, *documents: dict[str, Any]) -> AsyncIterator[Gate]:
    async with running(directory / "resources", *documents, license_("acme"), **TIMEOUTS) as gate:
        yield gate


def condition(gate: Gate, type_: str) -> dict[str, Any]:
    document = gate.store._documents.get(UP) or {"status": {}}
    return dict(read_condition(document, type_))


async def pull(gate: Gate, directory: Path, name: str = "small") -> None:
    """By two real clients, whole."""
    image = {"small": SMALL, "large": LARGE}[name]
    reference = f"{gate.host}/proxy/{APP}/up/my-org/{name}:1"
    for client in (Crane(), Skopeo()):
        pulled = await client.pull(reference, "acme", gate.key("acme"), directory / f"{client.name}-{name}")
        assert pulled.exit_code == 0, pulled.output
    everything = {m.digest for m in image.walk()} | {b for m in image.walk() for b in m.blobs}
    assert everything <= set(pulled.contents)


# --- AWS


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("access key", KEYS),
        ("access key with a session token", {**KEYS, "sessionToken": "CANARY-SESSION"}),
    ],
)
async def test_a_kind_of_aws_key_pulls(
    aws: ScriptedAws, public: Public, tmp_path: Path, kind: str, keys: dict[str, str]
) -> None:
    async with public.front("ECR") as front:
        front.takes = lambda user, password: user == "AWS" and password in aws.tokens
        documents = (opaque("vendor", keys), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            await pull(gate, tmp_path)
            assert {asked.session for asked in aws.asked} == {keys.get("sessionToken", "")}
    prove_kind("ECR", kind)


async def test_a_repository_of_another_account_is_pulled_where_its_own_policy_lets_the_identity_in(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    async with public.front("ECR") as front:
        front.takes = lambda user, password: password in aws.tokens
        front.denied.add("my-org/secret")  # its policy names nobody
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            await pull(gate, tmp_path)
            path = f"/v2/proxy/{APP}/up/my-org/secret/manifests/1"
            answer = await gate.get(path, gate.key("acme"))
            assert (answer.status, answer.fault) == (403, "UpstreamForbidden")
            folder = tmp_path / "folder"
            folder.mkdir()
            (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
            command = ("registry", "test", "up", "--folder", folder, "-n", APP, "--image", "my-org/secret:1")
            ran = await pullgate(*command, AWS_ENDPOINT_URL=aws.url)
            assert "also in its own policy if the account differs" in " ".join(ran.output.split())
    prove_kind("ECR", "access key, repository of another account")


ECR_CREDENTIALS = [
    ("ECR", {"secretRef": {"name": "vendor"}}, "key"),
    ("ECRPublic", {"secretRef": {"name": "vendor"}}, "key"),
    ("ECR", {"workloadIdentity": {"aws": {"roleARN": ROLE, "region": "eu-central-1"}}}, "identity"),
    ("ECRPublic", {"workloadIdentity": {"aws": {"roleARN": ROLE}}}, "identity"),
]


@pytest.mark.parametrize(("type_", "credentials", "column"), ECR_CREDENTIALS)
async def test_aws_keys_and_roles_become_a_password_that_pulls(
    aws: ScriptedAws, public: Public, tmp_path: Path, type_: str, credentials: dict[str, Any], column: str
) -> None:
    async with public.front(type_) as front:
        front.takes = lambda user, password: user == "AWS" and password in aws.tokens
        async with gate_of(tmp_path, opaque("vendor", KEYS), vendor(type_, front, credentials)) as gate:
            await pull(gate, tmp_path)
            status = (await gate.store.get(UP) or {})["status"]["credentials"]
            assert status["kind"] == ("ECRToken" if type_ == "ECR" else "ECRPublicToken")
            assert {"expiresAt", "refreshedAt"} <= set(status)
            assert condition(gate, "CredentialsAvailable")["status"] == "True"
    prove(type_, column)
    if (type_, column) == ("ECRPublic", "key"):
        prove_kind(type_, "access key")


@pytest.mark.parametrize("type_", ["ECR", "ECRPublic"])
async def test_a_password_that_the_registry_calls_expired_is_renewed_and_the_next_pull_passes(
    aws: ScriptedAws, public: Public, tmp_path: Path, type_: str
) -> None:
    async with public.front(type_) as front:
        over: set[str] = set()
        front.takes = lambda user, password: password in aws.tokens and password not in over
        documents = (opaque("vendor", KEYS), vendor(type_, front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            await pull(gate, tmp_path / "before")
            over |= set(aws.tokens)
            front.over |= over
            front.tokens = dict.fromkeys(front.tokens, False)
            path = f"/v2/proxy/{APP}/up/my-org/large/manifests/1"
            answer = await gate.get(path, gate.key("acme"))
            assert (answer.status, answer.fault) == (403, "UpstreamUnauthorized")
            await gate.tell_usage()
            await gate.until_status(path, gate.key("acme"), 200)
            assert len(aws.tokens) == 2
            await pull(gate, tmp_path / "after", "large")
    prove(type_, "renewal")


async def test_a_password_of_ecr_that_ends_while_a_blob_comes_costs_nothing_and_the_next_one_is_new(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    async with public.front("ECR") as front:
        over: set[str] = set()

        def takes(user: str, password: str) -> bool:
            if front.expire_after is None:  # the blob's first bytes are there
                over.update(aws.tokens[:1])
            return password in aws.tokens and password not in over

        front.takes = takes
        front.expire_after = 400_000
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            layer = max(LARGE.blobs, key=lambda digest: len(LARGE.blobs[digest]))
            base = f"/v2/proxy/{APP}/up/my-org/large"
            answer = await gate.get(f"{base}/blobs/{layer}", gate.key("acme"))
            assert answer.body == LARGE.blobs[layer]
            assert (await gate.get(f"{base}/manifests/1", gate.key("acme"))).fault == "UpstreamUnauthorized"
            assert over == set(aws.tokens), "nothing ended"
            await gate.tell_usage()
            await gate.until_status(f"{base}/manifests/1", gate.key("acme"), 200)
            assert (await gate.get(f"{base}/blobs/{layer}", gate.key("acme"))).body == LARGE.blobs[layer]
            assert len(aws.tokens) == 2
    prove("ECR", "ends in mid-blob")


async def test_a_blob_of_ecr_that_breaks_once_its_password_was_renewed_goes_on_with_the_new_one(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    async with public.front("ECR") as front:
        over: set[str] = set()
        front.takes = lambda user, password: password in aws.tokens and password not in over
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            layer = max(LARGE.blobs, key=lambda digest: len(LARGE.blobs[digest]))
            base = f"/v2/proxy/{APP}/up/my-org/large"

            async def renew() -> None:
                over.update(aws.tokens)
                front.over |= over
                assert (await gate.get(f"{base}/manifests/1", gate.key("acme"))).fault == "UpstreamUnauthorized"
                await gate.tell_usage()
                await gate.until_status(f"{base}/manifests/1", gate.key("acme"), 200)

            front.cut_after, front.before_the_cut = 400_000, renew
            answer = await gate.get(f"{base}/blobs/{layer}", gate.key("acme"))
            assert (answer.status, answer.body) == (200, LARGE.blobs[layer])
            assert len(aws.tokens) == 2


async def test_keys_that_aws_refuses_are_named_and_mended_by_new_ones(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    aws.refuse["GetAuthorizationToken"] = (400, "UnrecognizedClientException", "The security token is invalid")
    async with public.front("ECR") as front, Gate(tmp_path / "resources", **TIMEOUTS) as gate:
        front.takes = lambda user, password: password in aws.tokens
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        for document in documents:
            (gate.directory / f"{document['kind']}.yaml").write_text(yaml.safe_dump(document))
        await gate.apply(license_("acme"))
        await gate.until(lambda: condition(gate, "CredentialsAvailable").get("reason") == "KeysRejected")
        assert "AKIACANARYID" in condition(gate, "CredentialsAvailable")["message"]
        assert condition(gate, "Ready")["reason"] == "KeysRejected"
        answer = await gate.get(f"/v2/proxy/{APP}/up/my-org/small/manifests/1", gate.key("acme"))
        assert (answer.status, answer.fault) == (503, "CredentialsMissing")
        aws.refuse.clear()
        new = opaque("vendor", {**KEYS, "accessKeyID": "AKIANEW"})
        (gate.directory / "Secret.yaml").write_text(yaml.safe_dump(new))
        await gate.until(lambda: condition(gate, "Ready").get("status") == "True")
        assert "CANARY-KEY" not in str(await gate.store.get(UP))


# --- Azure


@pytest.mark.parametrize("column", ["key", "identity"])
async def test_a_principal_or_identity_of_azure_becomes_a_refresh_token_that_pulls(
    clouds: ScriptedClouds, public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    (tmp_path / "federated").write_text("POD-TOKEN")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "federated"))
    keys = {"tenantID": TENANT, "clientID": CLIENT, "clientSecret": "CANARY-SECRET"}
    identity = {"workloadIdentity": {"azure": {"tenantID": TENANT, "clientID": CLIENT}}}
    credentials = {"secretRef": {"name": "vendor"}} if column == "key" else identity
    async with public.front("ACR") as front:
        documents = (
            opaque("vendor", keys),
            vendor("ACR", front, credentials),
        )
        async with gate_of(tmp_path, *documents) as gate:
            await pull(gate, tmp_path / "before")
            assert (await gate.store.get(UP) or {})["status"]["credentials"]["kind"] == "ACRRefreshToken"
            front.revoke()
            path = f"/v2/proxy/{APP}/up/my-org/large/manifests/1"
            assert (await gate.get(path, gate.key("acme"))).fault == "UpstreamUnauthorized"
            front.takes = lambda user, password: (user, password) in front.accepted
            front.accepted.clear()
            await gate.tell_usage()
            await gate.until_status(path, gate.key("acme"), 200)
    prove("ACR", column)
    prove("ACR", "renewal")
    if column == "key":
        prove_kind("ACR", "service principal, exchanged")


# --- GitHub


async def test_an_installation_of_a_github_app_pulls_and_its_token_is_renewed(
    clouds: ScriptedClouds, public: Public, tmp_path: Path
) -> None:
    keys = {
        "appID": "1234",
        "installationID": "5678",
        "privateKey": pem(KEY).decode(),
    }
    async with public.front("GHCR") as front:
        over: set[str] = set()
        front.takes = lambda user, password: password in clouds.issued and password not in over
        documents = (
            opaque("vendor", keys),
            vendor("GHCR", front, {"secretRef": {"name": "vendor"}}),
        )
        async with gate_of(tmp_path, *documents) as gate:
            await pull(gate, tmp_path / "before")
            over |= set(clouds.issued)
            front.tokens.clear()
            path = f"/v2/proxy/{APP}/up/my-org/large/manifests/1"
            assert (await gate.get(path, gate.key("acme"))).fault == "UpstreamUnauthorized"
            await gate.tell_usage()
            await gate.until_status(path, gate.key("acme"), 200)
    prove("GHCR", "renewal")
    prove_kind("GHCR", "GitHub App")


# --- Google


@pytest.mark.parametrize("type_", ["GAR", "GCR"])
async def test_googles_identity_pulls_and_its_token_is_renewed(
    clouds: ScriptedClouds, public: Public, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str
) -> None:
    (tmp_path / "subject").write_text("JWT-OF-THE-CLUSTER")
    configuration = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    (tmp_path / "configuration.json").write_text(json.dumps(configuration))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "configuration.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    account = {"gcp": {"serviceAccount": "pullgate@my-project.iam.gserviceaccount.com"}}
    async with public.front(type_, "Generic") as front:
        over: set[str] = set()
        front.takes = lambda user, password: (
            user == "oauth2accesstoken" and password in clouds.issued and password not in over
        )
        async with gate_of(tmp_path, vendor(type_, front, {"workloadIdentity": account})) as gate:
            await pull(gate, tmp_path / "before")
            over |= set(clouds.issued)
            path = f"/v2/proxy/{APP}/up/my-org/large/manifests/1"
            assert (await gate.get(path, gate.key("acme"))).fault == "UpstreamUnauthorized"
            await gate.tell_usage()
            await gate.until_status(path, gate.key("acme"), 200)
    prove(type_, "identity")
    prove(type_, "renewal")


# --- who else asks


async def test_registry_test_shows_the_token_as_a_step_and_names_a_refusal(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    async with public.front("ECR") as front:
        front.takes = lambda user, password: password in aws.tokens
        folder = tmp_path / "folder"
        folder.mkdir()
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
        command = ("registry", "test", "up", "--folder", folder, "-n", APP, "--image", "my-org/small:1")
        ran = await pullgate(*command, AWS_ENDPOINT_URL=aws.url)
        assert ran.code == 0, ran.output
        assert "✓ token" in ran.output
        assert "ECRToken until" in ran.output
        aws.refuse["GetAuthorizationToken"] = (400, "AccessDeniedException", "not authorized")
        ran = await pullgate(*command, AWS_ENDPOINT_URL=aws.url)
        assert ran.code == 1
        assert "PermissionMissing" in ran.output
        assert "ecr:GetAuthorizationToken on *" in " ".join(ran.output.split())
        assert "CANARY" not in ran.output.replace("AKIACANARYID", "")


async def test_an_image_test_as_the_vendor_uses_the_token_that_was_issued(
    aws: ScriptedAws, public: Public, tmp_path: Path
) -> None:
    async with public.front("ECR") as front:
        front.takes = lambda user, password: password in aws.tokens
        documents = (opaque("vendor", KEYS), vendor("ECR", front, {"secretRef": {"name": "vendor"}}))
        async with gate_of(tmp_path, *documents) as gate:
            metadata = {"name": "release", "namespace": APP}
            spec = {"images": [f"{front.name}/my-org/small:1"]}
            test = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "ImageTest", "metadata": metadata, "spec": spec}
            await gate.apply(test)
            key = Key("ImageTest", APP, "release")

            def passed() -> bool:
                return read_condition(gate.store._documents.get(key) or {}, "Passed").get("status") == "True"

            await gate.until(passed)
            assert len(aws.tokens) == 1


# --- hosts of no cloud


@pytest.mark.parametrize(
    ("type_", "credentials"),
    [
        ("GAR", {"workloadIdentity": {"gcp": {}}}),
        ("ACR", {"workloadIdentity": {"azure": {"tenantID": TENANT, "clientID": CLIENT}}}),
        ("ECR", {"workloadIdentity": {"aws": {"roleARN": ROLE, "region": "eu-central-1"}}}),
        ("ECR", {"secretRef": {"name": "vendor"}}),
    ],
)
async def test_any_other_host_gets_no_token_and_no_cloud_is_asked_for_one(
    aws: ScriptedAws,
    clouds: ScriptedClouds,
    held: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    type_: str,
    credentials: dict[str, Any],
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", clouds.metadata)
    async with Front(FLAVOURS["Generic"], held) as front, Gate(tmp_path / "resources", **TIMEOUTS) as gate:
        found = registry("up", front.host, type=type_, network={"allowPrivate": True, "realmHosts": [front.token_host]})
        found["spec"]["credentials"] = credentials
        documents = [opaque("vendor", KEYS), found]
        (gate.directory / "all.yaml").write_text(yaml.safe_dump_all(documents))
        await gate.until(lambda: condition(gate, "CredentialsAvailable").get("status") == "False")
        assert f"spec.host {front.host} is no host of " in condition(gate, "CredentialsAvailable")["message"]
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
        ran = await pullgate("registry", "test", "up", "--folder", folder, "-n", APP)
        assert ran.code == 1
        assert f"spec.host {front.host} is no host of " in " ".join(ran.output.split())
    assert (aws.asked, clouds.asked, front.asked, front.logins) == ([], [], [], [])
