"""The end of credentials is a metric: static ones can be alerted on apart from those that are renewed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pullgate_operator.metrics import Metrics


def registry(name: str, **credentials: str) -> dict[str, Any]:
    status = {"conditions": [], "credentials": {"kind": "Basic", **credentials}}
    return {"metadata": {"namespace": "my-app", "name": name}, "spec": {}, "status": status}


def test_the_end_of_credentials_is_told_with_whether_somebody_renews_them() -> None:
    metrics = Metrics()
    end, now = "2026-12-24T12:00:00Z", datetime(2026, 11, 24, 12, tzinfo=UTC)
    documents = [
        registry("static", expiresAt=end),
        registry("token", expiresAt=end, refreshedAt="2026-11-24T11:00:00Z"),
        registry("keys", expiresAt=end, refreshedAt="2026-11-24T11:00:00Z", keysExpireAt="2026-12-01T00:00:00Z"),
        registry("endless"),
    ]
    metrics.show(documents, [], now)
    lines = [
        line for line in metrics.render().decode().splitlines() if line.startswith("pullgate_registry_credentials_e")
    ]
    at = datetime(2026, 12, 24, 12, tzinfo=UTC).timestamp()
    assert {line.split("{")[1].split("}")[0]: float(line.split()[-1]) for line in lines} == {
        'name="static",namespace="my-app",renewed="false"': at,
        'name="token",namespace="my-app",renewed="true"': at,
        'name="keys",namespace="my-app",renewed="true"': at,
        'name="keys",namespace="my-app",renewed="false"': datetime(2026, 12, 1, tzinfo=UTC).timestamp(),
    }
    metrics.show([], [], now)
    assert "renewed=" not in metrics.render().decode()
