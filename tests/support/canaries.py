"""Secrets that tests use, and where none of them may ever stand: logs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import pytest

from tests.support.upstreams.docker_registry import PASSWORD

SECRETS: Final = (
    PASSWORD,
    "token-password",
    "scripted-password",
    "CANARY-",
    "ECR-SECRET",
    "dckr_pat_SECRET",
    "dop_v1_SECRET",
)
_KEY: Final = re.compile(r"pgk_[0-9A-Za-z]{20,}")
"""A license key, or enough of one."""


def _in_base64(secret: str) -> tuple[str, ...]:
    """As it stands inside of something longer, by its place among the groups of three bytes (RFC 4648, section 4)."""
    found = []
    for before, start in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + secret.encode()).decode().rstrip("=")
        found.append(text[start:-1])  # the first and the last character hold bits of the neighbours
    return tuple(found)


_FORMS: Final = tuple(form for s in SECRETS for form in (s, quote(s, safe=""), *_in_base64(s)))


def find_secret(text: str) -> str | None:
    """What stands in `text` that is a secret, plain, in base64 or encoded for a URL; the first few characters of it."""
    for form in _FORMS:
        if form in text:
            return form[:12]
    found = _KEY.search(text)
    return found[0][:8] if found is not None else None


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, what the product logs meanwhile holds no credential and no license key."""
    yield
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            found = find_secret(record.getMessage() + str(record.exc_text or ""))
            assert found is None, f"{record.name} logged a secret that begins with {found}"
