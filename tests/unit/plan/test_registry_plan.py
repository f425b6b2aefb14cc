"""Credentials, handoff and conditions of a Registry, decided from values and the time alone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullgate import faults
from pullgate.policy.tenancy import TenantPolicy, parse_networks
from pullgate.providers.domain_claim import DomainClaim
from pullgate.providers.exchange import CredentialsInvalid
from pullgate.providers.handoff import decode_handoff, secret_document
from pullgate.resources import Registry, parse_resource
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import LoginResult
from pullgate_operator.plan.check import Checked
from pullgate_operator.plan.domains import Refusal
from pullgate_operator.plan.registry import RegistryInputs, RegistryPlan, find_credentials, plan_registry
from tests.support.tls import Authority

CA = Authority().pem.encode()
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRET = secret_document("my-app", "robot", {"username": b"u", "password": b"SECRET"}, type_="kubernetes.io/basic-auth")


def registry(status: dict[str, Any] | None = None, **spec: object) -> Registry:
    """A Registry."""
    parsed = parse_resource(
        {
            "apiVersion": "pullgate.dev/v1alpha1",
            "kind": "Registry",
            "metadata": {"name": "quay", "namespace": "my-app", "uid": "1", "generation": 2},
            "spec": {"type": "Quay", "credentials": {"secretRef": {"name": "robot"}}, **spec},
            "status": status or {},
        }
    )
    assert isinstance(parsed, Registry)
    return parsed


INPUTS = RegistryInputs(registry(), SECRET, None, None, None, None, NOW)


def decide(**changes: Any) -> RegistryPlan:
    """The plan with `changes` to the inputs."""
    return plan_registry(dataclasses.replace(INPUTS, **changes))


def checked(fault: faults.Fault | None, *, at: datetime = NOW, failures: int = 0, **inputs: Any) -> Checked:
    """A check that ended with `fault`."""
    config = decide(**inputs).check
    assert isinstance(config, UpstreamConfig)
    return Checked(config, at, LoginResult(0.0412, fault), failures)


def conditions(plan: RegistryPlan) -> dict[str, tuple[str, str]]:
    """Status and reason by type."""
    return {c["type"]: (c["status"], c["reason"]) for c in plan.plan.status["conditions"]}


def test_a_new_registry_is_handed_over_and_checked() -> None:
    plan = decide()
    assert decode_handoff(plan.plan.secrets[0]).credentials is not None
    assert plan.check is not None
    assert conditions(plan)["Ready"] == ("Unknown", "NotChecked")
    assert conditions(plan)["Reconciling"][0] == "True"
    assert "SECRET" not in repr(plan)


def test_a_check_that_went_well_makes_it_ready_and_is_repeated_in_time() -> None:
    plan = decide(checked=checked(None))
    assert conditions(plan) == {
        "CredentialsAvailable": ("True", "Available"),
        "Reachable": ("True", "Answered"),
        "Authenticated": ("True", "LoggedIn"),
        "Ready": ("True", "Ready"),
    }
    assert plan.check is None
    assert plan.plan.due == NOW + timedelta(minutes=5)
    assert plan.plan.status["host"] == "quay.io"
    assert plan.plan.status["lastCheck"] == {"time": "2026-11-24T12:00:00Z", "latency": "41ms"}
    assert decide(checked=checked(None), now=NOW + timedelta(minutes=5)).check is not None


@pytest.mark.parametrize(("interval", "seconds"), [("1s", 30), ("29s", 30), ("31s", 31)])
def test_no_interval_makes_checks_more_frequent_than_the_least(interval: str, seconds: int) -> None:
    resource = registry(check={"interval": interval})
    assert decide(resource=resource, checked=checked(None, resource=resource)).plan.due == NOW + timedelta(
        seconds=seconds
    )


@pytest.mark.parametrize(("later", "told"), [(timedelta(minutes=59), 0), (timedelta(hours=1), 60)])
def test_a_check_that_finds_the_same_is_told_once_an_hour(later: timedelta, told: int) -> None:
    first = decide(checked=checked(None)).plan.status
    now = NOW + later
    second = decide(resource=registry(dict(first)), checked=checked(None, at=now), now=now).plan.status
    assert second["lastCheck"]["time"] == f"2026-11-24T{12 + told // 60}:00:00Z"
    assert (second == first) == (told == 0)


@pytest.mark.parametrize(
    ("fault", "reachable", "authenticated", "summary"),
    [
        (faults.UpstreamUnauthorized("quay.io"), "True", "False", "Stalled"),
        (faults.UpstreamForbidden("quay.io", "a"), "True", "False", "Stalled"),
        (faults.RealmRefused("quay.io", "quay"), "True", "False", "Stalled"),
        (faults.UpstreamUnreachable("quay.io", "name does not resolve"), "False", "Unknown", "Reconciling"),
        (faults.UpstreamTLS("quay.io", "self-signed"), "False", "Unknown", "Reconciling"),
        (faults.UpstreamTimeout("quay.io", 10), "False", "Unknown", "Reconciling"),
        (faults.UpstreamRateLimited("quay.io", 42), "True", "Unknown", "Reconciling"),
    ],
)
def test_a_failed_check_is_told_by_the_reason_of_the_faults_table(
    fault: faults.Fault, reachable: str, authenticated: str, summary: str
) -> None:
    plan = decide(checked=checked(fault, failures=1))
    found = conditions(plan)
    assert found["Reachable"][0] == reachable
    assert found["Authenticated"] == (authenticated, fault.reason)
    assert found["Ready"][1] == fault.reason
    assert found[summary] == ("True", fault.reason)
    assert [e.reason for e in plan.plan.events] == ([fault.reason] if found["Ready"][0] == "False" else [])
    assert plan.plan.secrets  # the proxy goes on with what it has


def unproven(**spec: Any) -> Checked:
    """A check of a registry that let the login in unseen."""
    resource = registry(**spec)
    found = checked(None, resource=resource)
    result = LoginResult(0.04, None, unproven="quay.io lets strangers in at /v2/, so the login was not tried")
    image = resource.spec.check.image
    return dataclasses.replace(found, result=result, image=image, repositories=resource.spec.repositories)


def test_a_login_that_nothing_proves_makes_no_registry_ready_and_says_what_would() -> None:
    plan = decide(checked=unproven())
    found = conditions(plan)
    assert found["Reachable"] == ("True", "Answered")
    assert found["Authenticated"] == ("Unknown", "NotProven")
    assert found["Ready"] == ("False", "NotProven")
    assert found["Stalled"] == ("True", "NotProven")
    words = "quay.io lets strangers in at /v2/, so the login was not tried; name a private image in spec.check.image"
    assert message(plan, "Authenticated") == message(plan, "Ready") == words
    assert [event.reason for event in plan.plan.events] == ["NotProven"]
    assert plan.plan.secrets  # the proxy serves with what it has
    assert plan.plan.due == NOW + timedelta(minutes=5)


def test_an_image_that_cannot_be_read_is_told_before_a_login_that_nothing_proves() -> None:
    spec = {"check": {"image": "my-org/api:1"}}
    fault = faults.ManifestUnknown("quay.io", "my-org/api", "1")
    failed = dataclasses.replace(unproven(**spec), image_fault=fault, failures=1)
    found = conditions(decide(checked=failed, resource=registry(**spec)))
    assert (found["Authenticated"][1], found["Ready"][1]) == ("NotProven", "ManifestUnknown")


def test_a_repository_that_may_prove_the_login_is_tried_at_once() -> None:
    named = registry(repositories=["my-org/api"])
    assert decide(checked=unproven(), resource=named).check is not None
    assert decide(checked=unproven()).check is None
    assert decide(checked=checked(None), resource=named).check is None


def message(plan: RegistryPlan, type_: str) -> str:
    """The message of a condition."""
    return next(str(c["message"]) for c in plan.plan.status["conditions"] if c["type"] == type_)


def test_a_refusal_is_told_with_the_providers_own_next_step() -> None:
    refused = decide(checked=checked(faults.UpstreamUnauthorized("quay.io"), failures=1))
    words = "renew the credentials in Secret robot: copy the token of the robot account u again"
    assert words in message(refused, "Authenticated")
    assert words in message(refused, "Ready")


def test_a_registry_that_names_its_ca_is_not_told_to_name_it() -> None:
    fault = faults.UpstreamTLS("quay.io", "certificate is not valid (Missing Authority Key Identifier)")
    inputs: dict[str, Any] = {
        "resource": registry(tls={"caSecretRef": {"name": "ca"}}),
        "ca_secret": secret_document("my-app", "ca", {"ca.crt": CA}),
    }
    words = message(decide(checked=checked(fault, failures=1, **inputs), **inputs), "Reachable")
    assert "(Missing Authority Key Identifier)" in words
    assert "compare its certificate with the CA in ca.crt of Secret ca" in words
    assert "name its CA" not in words


def test_a_user_that_is_the_token_is_in_no_condition() -> None:
    twice = {"username": b"SECRET", "password": b"SECRET"}
    secret = secret_document("my-app", "robot", twice, type_="kubernetes.io/basic-auth")
    found = decide(secret=secret, checked=checked(faults.UpstreamUnauthorized("quay.io"), secret=secret))
    assert "of the robot account the token" in message(found, "Ready")
    assert "SECRET" not in str(found.plan.status)


def test_a_failed_check_is_repeated_soon_then_later() -> None:
    fault = faults.UpstreamUnreachable("quay.io", "refused")
    waits = [decide(checked=checked(fault, failures=n)).plan.due for n in (1, 2, 3, 7, 50)]
    assert waits == [NOW + timedelta(seconds=s) for s in (5, 10, 20, 300, 300)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret": None}, "there is no Secret robot; create it in my-app"),
        ({"secret": secret_document("my-app", "robot", {"user": b"x"})}, "Secret robot: it holds user; for type Quay"),
        ({"secret": {**SECRET, "data": {"username": "!"}}}, "Secret robot: its data is not base64"),
        (
            {"resource": registry(credentials={"workloadIdentity": {"gcp": {"serviceAccount": "a@b.example"}}})},
            "may not use the operator's own identity",
        ),
        ({"resource": registry(tls={"caSecretRef": {"name": "ca"}})}, "there is no Secret ca for the CA"),
        (
            {"resource": registry(tls={"caSecretRef": {"name": "ca"}}), "ca_secret": SECRET},
            "Secret ca has no certificate in PEM under ca.crt",
        ),
    ],
)
def test_without_usable_credentials_the_handoff_is_withdrawn(changes: dict[str, Any], said: str) -> None:
    plan = decide(**changes)
    assert plan.plan.secrets == ()
    assert plan.plan.unwanted == (("pullgate-system", "registry.my-app.quay"),)
    assert plan.check is None
    assert conditions(plan)["Ready"] == ("False", "CredentialsMissing")
    assert said in str(plan.plan.status["conditions"])
    assert "SECRET" not in repr(plan)


def test_an_anonymous_registry_needs_no_secret() -> None:
    plan = decide(resource=registry(credentials={"anonymous": {}}), secret=None)
    assert decode_handoff(plan.plan.secrets[0]).credentials is None
    assert plan.plan.status["credentials"] == {"kind": "Anonymous"}


def test_other_credentials_make_the_last_check_worthless() -> None:
    new = secret_document("my-app", "robot", {"username": b"u", "password": b"new"}, type_="kubernetes.io/basic-auth")
    plan = decide(checked=checked(None), secret=new)
    assert conditions(plan)["Ready"] == ("Unknown", "NotChecked")
    assert plan.check is not None


def test_the_word_of_an_earlier_process_stands_until_the_first_check() -> None:
    status = dict(decide(checked=checked(None)).plan.status)
    plan = decide(resource=registry(status))
    assert plan.plan.status == status
    assert plan.check is not None
    changed = decide(resource=registry({**status, "observedGeneration": 1}))
    assert conditions(changed)["Ready"][0] == "Unknown"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"older_by_host": ("my-app", "older")}, "HostConflict"),
        (
            {"refusal": Refusal("DomainConflict", "a.example is held"), "older_by_host": ("my-app", "o")},
            "DomainConflict",
        ),
        ({"refusal": Refusal("DomainNotAllowed", "a.example may not")}, "DomainNotAllowed"),
    ],
)
def test_a_registry_that_lacks_a_host_or_domain_says_so_and_is_served_on(changes: dict[str, Any], reason: str) -> None:
    plan = decide(checked=checked(None), **changes)
    assert conditions(plan)["Ready"] == ("False", reason)
    assert conditions(plan)["Stalled"][0] == "True"
    assert plan.plan.secrets  # by its own name it can still be pulled from


def test_the_status_shows_the_domains_that_are_held_and_since_when() -> None:
    held = (DomainClaim("a.example", "my-app", "quay", "1", NOW),)
    listed = registry(domains=["a.example", "b.example"])
    shown = decide(resource=listed, held=held).plan.status
    assert shown["domains"] == [{"name": "a.example", "since": "2026-11-24T12:00:00Z"}]
    assert decide(resource=listed).plan.status["domains"] == []
    assert "domains" not in decide().plan.status


def test_a_suspended_registry_is_not_asked() -> None:
    plan = decide(resource=registry(suspend=True))
    assert plan.check is None
    assert plan.plan.due is None
    assert conditions(plan)["Ready"] == ("False", "RegistrySuspended")
    assert "Stalled" not in conditions(plan)


IMAGE = "my-org/api:latest"
LACKING = faults.ManifestUnknown("quay.io", "my-org/api", "latest")


def checked_image(fault: faults.Fault | None, failures: int = 1) -> Checked:
    """A check whose login went well and whose image ended with `fault`."""
    found = checked(None, failures=failures if fault else 0, resource=registry(check={"image": IMAGE}))
    return dataclasses.replace(found, image=IMAGE, image_fault=fault)


@pytest.mark.parametrize(
    ("fault", "summary", "step"),
    [
        (LACKING, "Stalled", "my-org/api:latest is not on quay.io; check spec.check.image"),
        (faults.UpstreamForbidden("quay.io", "my-org/api"), "Stalled", "give the account of Secret robot read access"),
        (faults.UpstreamTimeout("quay.io", 10), "Reconciling", "it is tried again"),
    ],
)
def test_an_image_that_cannot_be_read_makes_it_unready_though_the_login_is_right(
    fault: faults.Fault, summary: str, step: str
) -> None:
    plan = decide(resource=registry(check={"image": IMAGE}), checked=checked_image(fault))
    found = conditions(plan)
    assert found["Authenticated"] == ("True", "LoggedIn")
    assert found["Ready"] == ("False", fault.reason)
    assert found[summary] == ("True", fault.reason)
    assert step in str(plan.plan.status["conditions"])
    assert plan.plan.due == NOW + timedelta(seconds=5)
    assert plan.plan.secrets


def test_an_image_that_can_be_read_makes_it_ready() -> None:
    plan = decide(resource=registry(check={"image": IMAGE}), checked=checked_image(None))
    assert conditions(plan)["Ready"] == ("True", "Ready")
    assert plan.plan.due == NOW + timedelta(minutes=5)


def test_another_image_makes_the_last_check_worthless() -> None:
    plan = decide(resource=registry(check={"image": "my-org/api:2"}), checked=checked_image(None))
    assert plan.check is not None
    assert conditions(plan)["Ready"] == ("Unknown", "NotChecked")


def test_an_earlier_process_word_of_an_image_stands_until_the_first_check() -> None:
    status = dict(decide(resource=registry(check={"image": IMAGE}), checked=checked_image(LACKING)).plan.status)
    plan = decide(resource=registry(status, check={"image": IMAGE}))
    assert plan.plan.status == status
    assert plan.check is not None
    without = decide(resource=registry(status))
    assert conditions(without)["Ready"][0] == "True"


KEYS = secret_document("my-app", "robot", {"accessKeyID": b"A", "secretAccessKey": b"SECRET"})
GCP: dict[str, Any] = {"workloadIdentity": {"gcp": {}}}
AZURE = {"workloadIdentity": {"serviceAccountName": "sa", "azure": {"tenantID": "t", "clientID": "c"}}}
ROLE = {"aws": {"roleARN": "arn:aws:iam::123456789012:role/puller", "region": "eu-west-1"}}
PLAIN = {"plainHTTP": True}
GOOD = "europe-west1-docker.pkg.dev"


@pytest.mark.parametrize(
    ("spec", "field", "fix"),
    [
        (
            {"type": "GAR", "host": "evil.example", "credentials": GCP, "tls": PLAIN},
            "spec.host evil.example",
            "spec.host",
        ),
        ({"type": "GAR", "host": GOOD, "credentials": GCP, "tls": PLAIN}, "spec.tls.plainHTTP", "remove spec.tls"),
        ({"type": "GCR", "host": "gcr.io.evil.example", "credentials": GCP}, "spec.host gcr.io.evil", "pkg.dev"),
        ({"type": "ACR", "host": "images.example.com", "credentials": AZURE}, "spec.host images", "azurecr.io"),
        ({"type": "ACR", "host": "r.azurecr.io", "credentials": AZURE, "tls": PLAIN}, "spec.tls.plainHTTP", "remove"),
        (
            {"type": "ECR", "host": "evil.example", "credentials": {"workloadIdentity": ROLE}},
            "spec.host evil",
            "dkr.ecr",
        ),
        (
            {"type": "ECRPublic", "host": "evil.example", "credentials": {"workloadIdentity": ROLE}},
            "evil",
            "public.ecr",
        ),
        ({"type": "ECRPublic", "host": "evil.example"}, "spec.host evil.example", "public.ecr.aws"),
        ({"type": "ECRPublic", "host": "public.ecr.aws", "tls": PLAIN}, "spec.tls.plainHTTP", "remove"),
    ],
)
def test_no_token_is_asked_for_a_registry_outside_of_its_cloud(spec: dict[str, Any], field: str, fix: str) -> None:
    inputs = dataclasses.replace(INPUTS, resource=registry(**spec), secret=KEYS, policy=TenantPolicy(own_identity=True))
    found = find_credentials(inputs)
    assert isinstance(found, CredentialsInvalid)
    assert field in found.message
    assert fix in found.fix
    plan = plan_registry(inputs)
    assert conditions(plan)["CredentialsAvailable"] == ("False", "CredentialsMissing")
    assert (plan.plan.secrets, plan.check) == ((), None)
    assert plan.plan.unwanted, "a token that was handed over before is withdrawn"


def test_a_password_that_the_vendor_wrote_goes_where_he_says() -> None:
    plan = decide(resource=registry(type="GAR", host="images.example.com", tls=PLAIN))
    assert plan.plan.secrets


def test_the_operators_own_token_is_not_shown_to_a_certificate_that_a_tenant_trusts() -> None:
    tls = {"caSecretRef": {"name": "ca"}}
    ca = secret_document("my-app", "ca", {"ca.crt": CA})
    own = registry(type="GAR", host=GOOD, credentials=GCP, tls=tls)
    found = find_credentials(
        dataclasses.replace(INPUTS, resource=own, ca_secret=ca, policy=TenantPolicy(own_identity=True))
    )
    assert isinstance(found, CredentialsInvalid)
    assert "spec.tls.caSecretRef" in found.message
    tenants = registry(type="ACR", host="r.azurecr.io", credentials=AZURE, tls=tls)
    found = find_credentials(dataclasses.replace(INPUTS, resource=tenants, ca_secret=ca))
    assert not isinstance(found, CredentialsInvalid)


def test_the_handoff_holds_what_the_administrator_allows_the_namespace() -> None:
    policy = TenantPolicy(networks=parse_networks("10.20.0.0/16 fd12::/48"), max_requests=7)
    handed = decode_handoff(decide(policy=policy).plan.secrets[0])
    assert (handed.networks, handed.max_requests) == (policy.networks, 7)
    assert decide(policy=policy).check is not None
    nothing = decode_handoff(decide().plan.secrets[0])
    assert (nothing.networks, nothing.max_requests) == ((), None)
