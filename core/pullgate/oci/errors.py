"""The distribution-spec's error body, written strictly and read tolerantly."""

from __future__ import annotations

import json
from typing import Any

from pullgate.oci.json_text import read_json

BODY_LIMIT = 64 * 1024
"""Bytes of an error body that are read (CVE-2020-1702)."""


def encode_errors(code: str, message: str, detail: object = None) -> bytes:
    """One error first and only: docker and skopeo show no second one."""
    error: dict[str, object] = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    # Letters of any language as they are: curl and some clients show the body as it comes.
    return json.dumps({"errors": [error]}, ensure_ascii=False).encode(errors="replace")


def decode_errors(body: bytes) -> list[tuple[str, str]]:
    """(code, message) of an error body; also of Docker Hub's `details`, OAuth's and Google's `error`. Never raises."""
    try:
        document = read_json(body[:BODY_LIMIT])
    except ValueError:
        return []
    if not isinstance(document, dict):
        return []
    errors = document.get("errors")
    if isinstance(errors, list):
        return [_pair(error) for error in errors[:16] if isinstance(error, dict)]
    if isinstance(document.get("error"), dict):  # Google's APIs
        return [_pair(document["error"])]
    for name in ("details", "error_description", "message", "error"):
        if isinstance(document.get(name), str):
            return [(str(document.get("code") or document.get("error") or "UNKNOWN"), document[name])]
    return []


def decode_detail(body: bytes) -> dict[str, str]:
    """The texts in the first error's `detail` as Pullgate writes it: reason, hint, ref. Never raises."""
    try:
        detail = read_json(body[:BODY_LIMIT])["errors"][0]["detail"]
    except (ValueError, LookupError, TypeError):
        return {}
    return {key: value for key, value in detail.items() if isinstance(value, str)} if isinstance(detail, dict) else {}


def _pair(error: dict[str, Any]) -> tuple[str, str]:
    return str(error.get("code") or "UNKNOWN"), str(error.get("message") or "")
