"""Is a credential of the wrong kind? Told from its form alone, where a login failed. Pure; no text holds any of it."""

from __future__ import annotations

import base64
import binascii
import re

from pullgate.providers.credentials import Credentials
from pullgate.providers.types import PROVIDERS

_PLACEHOLDER = re.compile(
    r"\A(\$\{?[A-Za-z_]\w*\}?|<[^>]*>|\{\{.*\}\}|.*(put-the|changeme|your-token).*|…|\.\.\.)\Z", re.I
)


def suspect(registry_type: str, credentials: Credentials) -> str | None:
    """What the user name and password look like instead, and what is wanted; None where they look right."""
    user, password = credentials.username, credentials.password
    for part, name in ((user, "user name"), (password, "password")):
        if _PLACEHOLDER.match(part.strip()):
            return f"the {name} is a placeholder that nobody filled in"
        if part != part.strip():
            return f"the {name} begins or ends with a space or a line break"
    own = PROVIDERS[registry_type].suspect
    found = own(user, password) if own is not None else None
    return found or (_encoded_twice(password) if registry_type not in {"GAR", "GCR"} else None)


def _encoded_twice(password: str) -> str | None:
    try:
        text = base64.b64decode(password, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    known = re.match(r"(ghp_|dckr_pat_|dckr_oat_|glpat-|gldt-|dop_v1_)", text)
    return "the password is base64 of a token: data wants it encoded once, stringData not at all" if known else None
