"""Static credentials that end warn in time, from any source of the end; those that are renewed do not."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Issued
from pullgate.providers.handoff import decode_handoff, secret_document
from pullgate.providers.known_end import end_of_token
from pullgate.resources import Registry, parse_resource
from pullgate.upstream.login import LoginResult
from pullgate_operator.plan.check import Checked
from pullgate_operator.plan.registry import RegistryInputs, RegistryPlan, plan_registry
from pullgate_operator.plan.renewal import Renewal, failed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIGNING_KEY = "k" * 32
CREDENTIALS = {"credentials": {"secretRef": {"name": "robot"}}}


def registry(status: dict[str, Any] | None = None, **spec: Any) -> Registry:
    parsed = parse_resource(
        {
            "apiVersion": "pullgate.dev/v1alpha1",
            "kind": "Registry",
            "metadata": {"name": "up", "namespace": "my-app", "uid": "1", "generation": 1},
            "spec": {"type": "Artifactory", "host": "acme.example", **CREDENTIALS, **spec},
            "status": status or {},
        }
    )
    assert isinstance(parsed, Registry)
    return parsed


def decide(password: str = "static", noted: str | None = None, asked: datetime | None = None, **changes: Any) -> Any:
    """The plan of a Registry with this password and annotation; `asked` is the end that the provider reported."""
    data = {"username": b"u", "password": password.encode()}
    secret = secret_document("my-app", "robot", data, type_="kubernetes.io/basic-auth")
    if noted is not None:
        secret["metadata"]["annotations"] = {"pullgate.dev/expires-at": noted}
    inputs = RegistryInputs(registry(changes.pop("status", None)), secret, None, None, None, None, NOW)
    inputs = dataclasses.replace(inputs, **changes)
    config = plan_registry(inputs).check
    assert config is not None
    checked = Checked(config, inputs.now, LoginResult(0.01), credentials_end=asked)
    return plan_registry(dataclasses.replace(inputs, checked=checked))


def condition(plan: RegistryPlan) -> dict[str, Any] | None:
    rows = plan.plan.status["conditions"]
    return next((c for c in rows if c["type"] == "CredentialsExpiringSoon"), None)


def token(end: datetime) -> str:
    """A token that says when it ends, as JFrog's access tokens do."""
    return jwt.encode({"exp": int(end.timestamp())}, SIGNING_KEY, algorithm="HS256")


END = NOW + timedelta(days=20)
TOLD = [
    {"password": token(END)},
    {"noted": "2026-12-14T12:00:00Z"},
    {"asked": END},
    {"password": token(END), "noted": "2027-06-01T00:00:00Z", "asked": END + timedelta(days=90)},
]


@pytest.mark.parametrize("told", TOLD, ids=["token", "annotation", "provider", "the earliest of all"])
def test_an_end_that_is_told_anywhere_warns(told: dict[str, Any]) -> None:
    plan = decide(**told)
    found = condition(plan)
    assert found is not None
    assert found["status"] == "True"
    assert "Secret robot end 2026-12-14T12:00:00Z; renew them at acme.example" in found["message"]
    assert plan.plan.status["credentials"] == {"kind": "Basic", "expiresAt": "2026-12-14T12:00:00Z", "warnedDays": 30}
    assert [e.reason for e in plan.plan.events if e.type == "Warning"] == ["CredentialsExpiringSoon"]


def test_each_step_is_told_once() -> None:
    end = NOW + timedelta(days=40)
    told, status, now = [], dict[str, Any](), NOW
    for _ in range(8):
        plan = decide(asked=end, now=now, status=status)
        told += [(now - NOW).days for e in plan.plan.events if e.reason == "CredentialsExpiringSoon"]
        status, now = plan.plan.status, max(plan.plan.due, now + timedelta(days=5))
    assert told[0] >= 10
    assert len(told) == 2  # within 30 days, within 7
    later = decide(asked=end, now=end - timedelta(hours=3), status=status)
    assert [e.reason for e in later.plan.events if e.type == "Warning"] == ["CredentialsExpiringSoon"]
    assert not decide(asked=end, now=end - timedelta(hours=2), status=later.plan.status).plan.events


def of_azure(noted: str | None, renewal: Renewal, status: dict[str, Any] | None = None) -> RegistryPlan:
    """The plan of a service principal whose keys are exchanged for a token."""
    data = {"tenantID": b"t", "clientID": b"c", "clientSecret": b"SECRET"}
    secret = secret_document("my-app", "robot", data)
    secret["metadata"]["annotations"] = {"pullgate.dev/expires-at": noted} if noted else {}
    spec = {"type": "ACR", "host": "myregistry.azurecr.io"}
    resource = registry(status, **spec)
    return plan_registry(RegistryInputs(resource, secret, None, None, None, None, NOW, renewal))


TOKEN = Issued(Credentials("nobody", "TOKEN", NOW + timedelta(hours=3)), "ACRRefreshToken")
RENEWED = Renewal(NOW + timedelta(hours=2), TOKEN, NOW)


def test_the_end_of_a_secret_warns_though_the_token_of_it_is_renewed() -> None:
    plan = of_azure("2026-12-14T12:00:00Z", RENEWED)
    found = condition(plan)
    assert found is not None
    assert "the credentials of Secret robot end 2026-12-14T12:00:00Z; renew them at the provider" in found["message"]
    assert [e.reason for e in plan.plan.events if e.type == "Warning"] == ["CredentialsExpiringSoon"]
    told = plan.plan.status["credentials"]
    assert (told["expiresAt"], told["keysExpireAt"]) == ("2026-11-24T15:00:00Z", "2026-12-14T12:00:00Z")
    again = of_azure("2026-12-14T12:00:00Z", RENEWED, dict(plan.plan.status))
    assert not again.plan.events
    assert again.plan.due is not None


def test_the_end_of_a_token_that_is_renewed_is_no_reason_to_warn() -> None:
    plan = of_azure(None, RENEWED)
    assert condition(plan) is None
    assert "keysExpireAt" not in plan.plan.status["credentials"]


@pytest.mark.parametrize(
    ("reason", "status", "said"),
    [
        ("KeysRejected", "False", "KeysRejected"),
        ("IdentityRejected", "False", "IdentityRejected"),
        ("ExchangeUnreachable", "True", "RenewalFailing"),
    ],
)
def test_the_old_token_is_handed_over_as_long_as_it_is_good(reason: str, status: str, said: str) -> None:
    failing = failed(RENEWED, ExchangeFailed(reason, "the cause", "the fix"), NOW, 0.5)
    plan = of_azure(None, failing)
    available = next(c for c in plan.plan.status["conditions"] if c["type"] == "CredentialsAvailable")
    assert (available["status"], available["reason"]) == (status, said)
    assert available["message"] == "the cause; the fix; the last token serves until 2026-11-24T15:00:00Z"
    handed = decode_handoff(plan.plan.secrets[0])
    assert handed.credentials == TOKEN.credentials
    assert not plan.plan.unwanted
    over = dataclasses.replace(failing, issued=dataclasses.replace(TOKEN, credentials=Credentials("n", "T", NOW)))
    ended = of_azure(None, over)
    assert not ended.plan.secrets
    assert ended.plan.unwanted
    assert next(c for c in ended.plan.status["conditions"] if c["type"] == "Ready")["reason"] == reason


def test_no_end_or_a_far_one_warns_not() -> None:
    assert condition(decide()) is None
    far = decide(asked=NOW + timedelta(days=31))
    assert condition(far) is None
    assert far.plan.status["credentials"]["expiresAt"] == "2026-12-25T12:00:00Z"


def test_new_credentials_end_the_warning() -> None:
    before = decide(asked=END)
    assert condition(decide(status=before.plan.status)) is None


def test_an_annotation_that_is_no_time_is_told_and_harms_nothing() -> None:
    plan = decide(noted="next summer")
    found = condition(plan)
    assert found is not None
    assert (found["status"], found["reason"]) == ("Unknown", "AnnotationInvalid")
    assert "write it like 2027-01-31T00:00:00Z" in found["message"]
    assert plan.plan.secrets


@given(st.text() | st.from_regex(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_no_password_breaks_the_search_for_an_end(password: str) -> None:
    end_of_token(password)
