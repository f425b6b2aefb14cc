"""The operator asks for tokens of the ServiceAccounts that an app lets it, and of no other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import jwt
import pytest
import yaml

from pullgate.providers.exchange import ExchangeFailed
from pullgate.store.cluster.api import Api
from pullgate.store.cluster.store import ClusterStore
from tests.support.cluster.kubectl import Kubectl
from tests.support.guide_pages import EXAMPLES
from tests.support.kustomize import DEPLOY

AUDIENCE = "sts.amazonaws.com"
EXAMPLE = Path(__file__).parents[2] / "examples" / "07-workload-identity" / "app.yaml"


@pytest.fixture(scope="module")
def kubeconfig(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's, with the rights of deploy/ and no more."""
    cluster.kubectl("apply", "-k", DEPLOY)
    return cluster.kubeconfig_of("pullgate-system", "pullgate-operator", tmp_path_factory.mktemp("identity"))


def ask(kubeconfig: Path, app: str, account: str, audience: str = AUDIENCE) -> str:
    async def work() -> str:
        async with await Api.load(kubeconfig) as api:
            return await ClusterStore(api, {}, "test").request_token(app, account, audience)

    return asyncio.run(work())


def apply_example(cluster: Kubectl, app: str, path: Path = EXAMPLE) -> None:
    """The example, in another namespace, without its Registry."""
    documents = [d for d in yaml.safe_load_all(path.read_text()) if d["kind"] not in {"Namespace", "Registry"}]
    for document in documents:
        document["metadata"]["namespace"] = app
    cluster.apply(*documents)


def test_without_a_role_no_token_is_given_and_the_role_is_named(cluster: Kubectl, app: str, kubeconfig: Path) -> None:
    with pytest.raises(ExchangeFailed) as caught:
        ask(kubeconfig, app, "default")
    assert caught.value.reason == "IdentityMissing"
    assert f"may not ask for tokens of ServiceAccount default of {app}" in caught.value.message
    assert f"by a Role in {app}" in caught.value.fix


def test_with_the_role_of_the_example_a_short_token_for_that_cloud_alone(
    cluster: Kubectl, app: str, kubeconfig: Path
) -> None:
    apply_example(cluster, app)
    token = ask(kubeconfig, app, "ecr-puller")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == [AUDIENCE]
    assert claims["sub"] == f"system:serviceaccount:{app}:ecr-puller"
    assert claims["exp"] - claims["iat"] <= 600
    with pytest.raises(ExchangeFailed):
        ask(kubeconfig, app, "default")


@pytest.mark.parametrize(
    ("type_", "audience"),
    [
        ("ECR", "sts.amazonaws.com"),
        ("GAR", "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p"),
        ("ACR", "api://AzureADTokenExchange"),
    ],
)
def test_what_a_guide_prints_lets_the_operator_have_that_one_token(
    cluster: Kubectl, app: str, kubeconfig: Path, type_: str, audience: str
) -> None:
    apply_example(cluster, app, EXAMPLES / f"{type_}-identity.yaml")
    account = f"{type_.lower()}-puller"
    claims = jwt.decode(ask(kubeconfig, app, account, audience), options={"verify_signature": False})
    assert claims["aud"] == [audience]
    assert claims["sub"] == f"system:serviceaccount:{app}:{account}"
    with pytest.raises(ExchangeFailed):
        ask(kubeconfig, app, "default", audience)


def test_a_service_account_that_is_missing_is_told(cluster: Kubectl, app: str, kubeconfig: Path) -> None:
    apply_example(cluster, app)
    cluster.kubectl("delete", "serviceaccount", "ecr-puller", "-n", app)
    with pytest.raises(ExchangeFailed) as caught:
        ask(kubeconfig, app, "ecr-puller")
    assert "there is no ServiceAccount ecr-puller" in caught.value.message
