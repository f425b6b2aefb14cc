"""Keys, Secrets and conditions of a License, decided from values and the time alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullgate.licensing.keys import digest_text, key_digest, new_key
from pullgate.licensing.license_file import new_signing_key, public_pem, verify_license
from pullgate.providers.handoff import secret_data
from pullgate.resources import License, parse_resource
from pullgate.store.port import Document
from pullgate_operator.plan.keys import ISSUE_LIMIT, ISSUE_WINDOW, ISSUED, LIVE_LIMIT, RETIRED_LIMIT
from pullgate_operator.plan.license import LicenseInputs, plan_license
from pullgate_operator.plan.outcome import Plan

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PRIVATE = new_signing_key()
SIGNING = (PRIVATE, public_pem(PRIVATE))


class World:
    """A License over time: each `plan` sees the status and Secrets that the previous one wrote."""

    def __init__(self, **spec: object) -> None:
        self.spec: dict[str, Any] = {"entitlements": [{"registry": "quay", "repositories": ["**"]}], **spec}
        self.annotations: dict[str, str] = {}
        self.status: dict[str, Any] = {}
        self.secrets: dict[str, Document] = {}
        self.signing = SIGNING
        self.hosts: tuple[str, ...] = ("images.example.com",)
        self.registries = frozenset({"quay"})
        self.issued: list[datetime] = []
        """As the process notes it."""

    @property
    def resource(self) -> License:
        """As it is now."""
        metadata = {"name": "acme", "namespace": "my-app", "annotations": self.annotations, "generation": 1}
        parsed = parse_resource(
            {
                "apiVersion": "pullgate.dev/v1alpha1",
                "kind": "License",
                "metadata": metadata,
                "spec": self.spec,
                "status": self.status,
            }
        )
        assert isinstance(parsed, License)
        return parsed

    def plan(self, now: datetime = NOW, fresh: Callable[[], str] = new_key) -> Plan:
        """Compute the plan, and apply it to this world."""
        inputs = LicenseInputs(
            resource=self.resource,
            license_secret=self.secrets.get("acme-license"),
            pull_secret=self.secrets.get("acme-pull"),
            signing_key=self.signing,
            hosts=self.hosts,
            registries=self.registries,
            now=now,
            issued=tuple(self.issued),
        )
        plan = plan_license(inputs, fresh)
        self.issued += [now for event in plan.events if event.reason in ISSUED]
        self.status = json.loads(json.dumps(plan.status))
        self.secrets.update({s["metadata"]["name"]: s for s in plan.secrets})
        return plan

    @property
    def key(self) -> str:
        """The key in the license file."""
        return str(self.facts["key"])

    @property
    def facts(self) -> dict[str, Any]:
        """The verified facts in the license file."""
        text = secret_data(self.secrets["acme-license"])["license.yaml"].decode()
        return verify_license(text, [self.signing[1]])

    def condition(self, type_: str) -> dict[str, Any]:
        """One condition, or an empty one."""
        found: list[dict[str, Any]] = [c for c in self.status["conditions"] if c["type"] == type_]
        return found[0] if found else {}


def reasons(plan: Plan) -> list[str]:
    """The reasons of the plan's events."""
    return [event.reason for event in plan.events]


def test_a_new_license_gets_a_key_and_both_secrets() -> None:
    world = World(customer={"name": "ACME"}, expiresAt="2028-01-01T00:00:00Z")
    plan = world.plan()
    assert world.status["keys"][0]["digest"] == digest_text(key_digest(world.key))
    assert world.status["secrets"] == {"license": "acme-license", "pull": "acme-pull"}
    assert world.facts["customer"] == {"name": "ACME"}
    config = json.loads(secret_data(world.secrets["acme-pull"])[".dockerconfigjson"])
    assert base64.b64decode(config["auths"]["images.example.com"]["auth"]).decode() == f"acme:{world.key}"
    assert reasons(plan) == ["KeyIssued"]
    assert world.key not in json.dumps(plan.status)
    assert world.key not in repr(plan)


def test_where_nothing_changed_the_plan_is_what_is_there() -> None:
    world = World(expiresAt="2026-12-20T00:00:00Z", keys={"rotation": "90d"})
    first = world.plan()
    second = world.plan(NOW + timedelta(hours=1))
    assert second.status == first.status
    assert second.secrets == first.secrets
    assert second.events == ()


def test_extending_a_license_needs_no_new_key() -> None:
    world = World(expiresAt="2027-01-01T00:00:00Z")
    world.plan()
    key, world.spec["expiresAt"] = world.key, "2029-01-01T00:00:00Z"
    world.plan()
    assert world.key == key
    assert world.facts["expiresAt"] == "2029-01-01T00:00:00Z"


def test_a_key_is_replaced_on_schedule_and_the_old_one_lives_for_the_overlap() -> None:
    world = World(keys={"rotation": "90d", "overlap": "7d"})
    assert world.plan().due == NOW + 90 * DAY
    old = world.key
    assert reasons(world.plan(NOW + 89 * DAY)) == []
    plan = world.plan(NOW + 90 * DAY)
    assert reasons(plan) == ["KeyRotated"]
    assert world.key != old
    replaced = world.status["keys"][1]
    assert replaced["digest"] == digest_text(key_digest(old))
    assert (replaced["replacedAt"], replaced["expiresAt"]) == ("2027-02-22T12:00:00Z", "2027-03-01T12:00:00Z")
    assert plan.due == NOW + 180 * DAY


def test_a_new_annotation_rotates_once_and_its_value_is_remembered() -> None:
    world = World(keys={"overlap": "0s"})
    world.annotations["pullgate.dev/rotate-key"] = "1"
    assert "KeyRotated" not in reasons(world.plan())  # a new key needs no rotation
    keys = [world.key]
    for value, rotated in (("1", False), ("2", True), ("2", False), ("", False), ("2", False), ("3", True)):
        world.annotations["pullgate.dev/rotate-key"] = value
        assert ("KeyRotated" in reasons(world.plan())) == rotated, value
        keys.append(world.key)
    assert len(set(keys)) == 3
    assert all(k["expiresAt"] == k["replacedAt"] for k in world.status["keys"][1:])


def test_replaced_keys_stay_known_but_not_without_bound() -> None:
    world = World(keys={"overlap": "0s"})
    for number in range(RETIRED_LIMIT + 5):
        world.annotations["pullgate.dev/rotate-key"] = str(number)
        world.plan(NOW + number * DAY)
    assert len(world.status["keys"]) == RETIRED_LIMIT + 1
    assert sum("replacedAt" not in k for k in world.status["keys"]) == 1


def test_a_lost_secret_is_rebuilt_with_a_new_key_and_the_old_one_goes_on_for_the_overlap() -> None:
    world = World()
    world.plan()
    old = world.key
    del world.secrets["acme-license"]
    plan = world.plan(NOW + DAY)
    assert world.key != old
    assert reasons(plan)[0] == "KeyReissued"
    assert "the old one works until 2026-12-02T12:00:00Z" in plan.events[0].message
    assert reasons(world.plan(NOW + DAY)) == []


def test_a_lost_pull_secret_is_rebuilt_with_the_same_key() -> None:
    world = World()
    world.plan()
    key = world.key
    del world.secrets["acme-pull"]
    assert reasons(world.plan()) == []
    assert world.key == key
    assert "acme-pull" in world.secrets


def test_a_key_that_was_written_before_a_crash_is_taken_over() -> None:
    world = World(keys={"rotation": "90d"})
    world.plan()
    before = json.loads(json.dumps(world.status))
    world.plan(NOW + 90 * DAY)
    rotated, world.status = world.key, before  # the Secret was written, the status was not
    world.plan(NOW + 90 * DAY + timedelta(minutes=1))
    assert world.key == rotated
    assert [k.get("replacedAt") is None for k in world.status["keys"]] == [True, False]


def test_a_lost_status_costs_no_key() -> None:
    world = World()
    world.plan()
    key, issued = world.key, world.status["keys"][0]["issuedAt"]
    world.status = {}
    assert "KeyIssued" not in reasons(world.plan(NOW + DAY))
    assert world.key == key
    assert world.status["keys"][0]["issuedAt"] == issued


def test_the_secret_of_another_license_is_never_taken_over() -> None:
    """Its key would then name two licenses."""
    other = World()
    other.plan()
    stolen = other.secrets["acme-license"]
    private = new_signing_key()
    world = World()
    world.signing = (private, public_pem(private))  # so the stolen file is not signed by this vendor
    world.secrets["acme-license"] = stolen
    world.plan()
    assert world.key != other.key


def test_another_signing_key_signs_the_same_key_anew() -> None:
    world = World()
    world.plan()
    key, private = world.key, new_signing_key()
    world.signing = (private, public_pem(private))
    world.plan()
    assert world.key == key  # read with the new public key


@pytest.mark.parametrize(
    ("spec", "status", "reason"),
    [
        ({}, "True", "Valid"),
        ({"expiresAt": "2026-11-24T12:00:00Z"}, "False", "Expired"),
        ({"expiresAt": "2026-11-24T12:00:01Z"}, "True", "Valid"),
        ({"notBefore": "2026-11-24T12:00:01Z"}, "False", "NotYetValid"),
        ({"notBefore": "2026-11-24T12:00:00Z"}, "True", "Valid"),
        ({"suspended": {"reason": "invoice 77 unpaid"}, "expiresAt": "2020-01-01T00:00:00Z"}, "False", "Suspended"),
    ],
)
def test_valid_says_whether_it_may_pull_now(spec: dict[str, object], status: str, reason: str) -> None:
    world = World(**spec)
    world.plan()
    assert (world.condition("Valid")["status"], world.condition("Valid")["reason"]) == (status, reason)


def test_expiry_is_told_at_thirty_seven_and_one_days_each_once() -> None:
    end = NOW + 40 * DAY
    world = World(expiresAt=end.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert world.plan().due == end - 30 * DAY
    told = []
    for hours in range(0, 41 * 24, 6):
        plan = world.plan(NOW + timedelta(hours=hours))
        told += [
            (hours / 24, e.message.split(", ")[1].split(";")[0]) for e in plan.events if e.reason == "ExpiringSoon"
        ]
    assert told == [(10, "within 30 days"), (33, "within 7 days"), (39, "within 1 day")]
    assert world.condition("ExpiringSoon") == {}
    assert world.condition("Valid")["reason"] == "Expired"
    world.spec["expiresAt"] = (NOW + 60 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert reasons(world.plan(NOW + 40 * DAY)) == ["ExpiringSoon", "Valid"]


def test_a_registry_that_is_not_there_is_told() -> None:
    world = World()
    world.registries = frozenset()
    world.plan()
    assert world.condition("Ready")["reason"] == "RegistryUnknown"
    assert "quay" in world.condition("Ready")["message"]
    assert world.key  # it may hold other entitlements


def test_a_secret_of_somebody_else_is_left_alone() -> None:
    world = World()
    world.secrets["acme-pull"] = {
        "kind": "Secret",
        "metadata": {"name": "acme-pull", "namespace": "my-app"},
        "data": {},
    }
    plan = world.plan()
    assert plan.secrets == ()
    assert world.condition("Ready")["reason"] == "SecretConflict"


def test_a_status_field_of_somebody_else_is_kept() -> None:
    world = World()
    world.status = {"seenBy": "an auditor"}
    world.plan()
    assert world.status["seenBy"] == "an auditor"


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join([f'*{before}'] * 10)}]\n" for before, c in zip("abcdefgh", "bcdefghi", strict=True)
)
NONSENSE = ["[" * 60_000, "{a: " * 30_000, "- " * 30_000, "x" * 10**6, f"{LAUGHS}license: {{key: *i}}", "!!int x"]


@pytest.mark.parametrize("text", NONSENSE)
def test_a_secret_that_somebody_filled_with_nonsense_costs_a_new_key_and_not_the_operator(text: str) -> None:
    world = World()
    world.plan()
    secret = world.secrets["acme-license"]
    secret["data"] = {"license.yaml": base64.b64encode(text.encode()).decode()}
    assert "KeyReissued" in reasons(world.plan())


def large(repositories: int) -> list[dict[str, Any]]:
    """Entitlements as the CRD allows them."""
    each = [f"my-org/{number:03}/{'x' * 200}" for number in range(64)]
    return [{"registry": "quay", "repositories": each[: repositories // 16]} for _ in range(16)]


def test_a_license_file_of_more_than_64_kib_is_read_whole() -> None:
    """Reading it back once cut it, which made a new key at each reconcile."""
    world = World(entitlements=large(400))
    world.plan()
    key = world.key
    assert len(secret_data(world.secrets["acme-license"])["license.yaml"]) > 128 * 1024
    for minute in range(3):
        assert world.plan(NOW + timedelta(minutes=minute)).events == ()
        assert world.key == key


def test_a_license_whose_file_would_be_too_large_to_read_is_refused_and_keeps_its_key() -> None:
    world = World()
    world.plan()
    key, keys = world.key, world.status["keys"]
    world.spec["entitlements"] = large(1024)
    plan = world.plan()
    assert plan.secrets == ()
    assert world.condition("Ready")["reason"] == "LicenseFileTooLarge"
    assert "and may have 256" in world.condition("Ready")["message"]
    assert (world.key, world.status["keys"]) == (key, keys)
    world.spec["entitlements"] = large(16)
    world.plan()
    assert (world.key, world.condition("Ready")["status"]) == (key, "True")


def test_a_new_license_whose_file_would_be_too_large_gets_no_key() -> None:
    world = World(entitlements=large(1024))
    assert world.plan().secrets == ()
    assert "keys" not in world.status


@pytest.mark.parametrize("status_is_lost", [False, True])
def test_whatever_takes_the_key_away_issues_no_keys_in_a_loop(status_is_lost: bool) -> None:
    """A controller that reverts the Secret, or a status that cannot be written."""
    world = World()
    told = []
    for second in range(120):
        told += reasons(world.plan(NOW + timedelta(seconds=second)))
        del world.secrets["acme-license"]
        if status_is_lost:
            world.status = {}
        elif second < ISSUE_LIMIT - 1:
            current = world.status["keys"][0]
        if len(world.issued) == ISSUE_LIMIT:
            world.secrets.setdefault("acme-license", {"kind": "Secret", "metadata": OURS, "data": {}})
    assert len(world.issued) == ISSUE_LIMIT
    if not status_is_lost:
        assert told.count("KeysIssuedTooOften") == 1
        assert current in [{**k, "replacedAt": None} for k in world.status["keys"]] or world.status["keys"]
        assert "replacedAt" not in world.status["keys"][0]  # what was issued last goes on
    world.plan(NOW + ISSUE_WINDOW)
    assert len(world.issued) == ISSUE_LIMIT + 1


OURS = {
    "name": "acme-license",
    "namespace": "my-app",
    "labels": {"app.kubernetes.io/managed-by": "pullgate"},
}


def test_an_annotation_that_changes_all_the_time_rotates_no_faster_than_the_rate() -> None:
    world = World()
    for second in range(120):
        world.annotations["pullgate.dev/rotate-key"] = str(second)
        plan = world.plan(NOW + timedelta(seconds=second))
    assert len(world.issued) == ISSUE_LIMIT
    assert plan.due == NOW + ISSUE_WINDOW
    assert world.condition("Ready")["reason"] == "KeysIssuedTooOften"
    assert digest_text(key_digest(world.key)) == world.status["keys"][0]["digest"]
    world.plan(NOW + ISSUE_WINDOW)
    assert world.condition("Ready")["reason"] == "Ready"
    assert len(world.issued) == ISSUE_LIMIT + 1


def test_no_key_within_its_overlap_is_dropped_whatever_comes_after_it() -> None:
    world = World(keys={"overlap": "30d"})
    issued = []
    for number in range(LIVE_LIMIT + 20):
        world.annotations["pullgate.dev/rotate-key"] = str(number)
        world.plan(NOW + number * timedelta(minutes=10))
        issued.append(digest_text(key_digest(world.key)))
    known = {k["digest"] for k in world.status["keys"]}
    assert set(issued) <= known
    assert len(known) == LIVE_LIMIT + 1
    assert world.condition("Ready")["reason"] == "KeysIssuedTooOften"


def rotated(world: World, at: datetime, value: str) -> str:
    """Rotate the key; returns the one before."""
    old, world.annotations["pullgate.dev/rotate-key"] = world.key, value
    world.plan(at)
    assert world.key != old
    return old


def test_the_overlap_counts_for_keys_that_were_replaced_before() -> None:
    """A leaked key went on for 7 days though the overlap was 0s by then."""
    world = World(keys={"overlap": "7d"})
    world.plan()
    rotated(world, NOW + DAY, "1")
    assert world.status["keys"][1]["expiresAt"] == "2026-12-02T12:00:00Z"
    for overlap, day in (("2d", "2026-11-27"), ("30d", "2026-12-25"), ("0s", "2026-11-25")):
        world.spec["keys"] = {"overlap": overlap}
        assert world.plan(NOW + DAY + timedelta(hours=1)).events == ()
        assert world.status["keys"][1]["expiresAt"] == f"{day}T12:00:00Z"
    world.spec["keys"] = {"overlap": "30d"}
    world.plan(NOW + DAY + timedelta(hours=2))
    assert world.status["keys"][1]["expiresAt"] == "2026-11-25T12:00:00Z"  # what ended does not come back


def test_a_replaced_key_that_is_revoked_ends_at_once_and_costs_no_new_key() -> None:
    world = World()
    world.plan()
    old = rotated(world, NOW + DAY, "1")
    key, id_ = world.key, world.status["keys"][1]["id"]
    world.spec["keys"] = {"revoked": [id_]}
    world.annotations[f"pullgate.dev/revoked-{id_}"] = "found on\x1b[31m a forum"
    plan = world.plan(NOW + 2 * DAY)
    assert reasons(plan) == ["KeyRevoked"]
    revoked = world.status["keys"][1]
    assert revoked["digest"] == digest_text(key_digest(old))
    assert revoked["revokedAt"] == revoked["expiresAt"] == "2026-11-26T12:00:00Z"
    assert revoked["replacedAt"] == "2026-11-25T12:00:00Z"
    assert revoked["revokedReason"] == "found on [31m a forum"
    assert world.key == key
    assert world.plan(NOW + 3 * DAY).events == ()
    world.spec["keys"] = {}
    world.plan(NOW + 4 * DAY)
    assert world.status["keys"][1] == revoked  # a leaked key stays leaked: its revocation is never undone


def test_a_current_key_that_is_revoked_is_replaced_at_once() -> None:
    world = World()
    world.plan()
    old, id_ = world.key, world.status["keys"][0]["id"]
    world.spec["keys"] = {"revoked": [id_]}
    plan = world.plan(NOW + DAY)
    assert reasons(plan) == ["KeyRevoked", "KeyIssued"]
    assert world.key != old
    assert [("revokedAt" in k, k.get("expiresAt")) for k in world.status["keys"]] == [
        (False, None),
        (True, "2026-11-25T12:00:00Z"),
    ]


def test_a_revoked_key_is_not_taken_over_from_a_secret_that_somebody_put_back() -> None:
    world = World()
    world.plan()
    stolen, world.spec["keys"] = world.secrets["acme-license"], {"revoked": [world.status["keys"][0]["id"]]}
    old = world.key
    world.plan(NOW + DAY)
    world.secrets["acme-license"], world.status = stolen, {}
    world.plan(NOW + 2 * DAY)
    assert world.key != old


def test_a_new_key_never_has_the_id_of_a_revoked_one() -> None:
    world = World()
    world.plan()
    old = world.key
    world.spec["keys"] = {"revoked": [world.status["keys"][0]["id"]]}
    keys = iter([old, old, new_key()])
    world.plan(NOW + DAY, lambda: next(keys))
    assert world.key != old


def test_an_id_to_revoke_that_no_key_has_is_told() -> None:
    world = World(keys={"revoked": ["k00000"]})
    world.plan()
    assert "keys.revoked names k00000, which is no key" in world.condition("Ready")["message"]


def test_a_revoked_key_stays_known_whatever_is_rotated_after_it() -> None:
    world = World(keys={"overlap": "0s"})
    world.plan()
    id_ = world.status["keys"][0]["id"]
    world.spec["keys"] = {"overlap": "0s", "revoked": [id_]}
    for number in range(RETIRED_LIMIT + 5):
        world.annotations["pullgate.dev/rotate-key"] = str(number)
        world.plan(NOW + number * DAY)
    assert id_ in [k["id"] for k in world.status["keys"]]


def test_a_key_is_revoked_though_no_new_license_file_can_be_written() -> None:
    world = World()
    world.plan()
    world.spec |= {"entitlements": large(1024), "keys": {"revoked": [world.status["keys"][0]["id"]]}}
    assert reasons(world.plan(NOW + DAY))[0] == "KeyRevoked"
    assert "revokedAt" in world.status["keys"][0]


@pytest.mark.parametrize("keys", [{"overlap": "999999999d"}, {"rotation": "999999999d"}])
def test_a_duration_beyond_all_time_breaks_nothing(keys: dict[str, str]) -> None:
    world = World(keys=keys)
    world.plan()
    rotated(world, NOW + DAY, "1")
    world.plan(NOW + 2 * DAY)
    assert world.condition("Ready")["status"] == "True"
