"""Is a credential of the wrong kind? Judged by its form alone, after a failed login. Pure; no text holds any of it."""

from __future__ import annotations

import base64
import binascii
import re

from pullgate.providers.credentials import TOKENS, Credentials
from pullgate.providers.types import PROVIDERS

_PLACEHOLDER = re.compile(
    r"\A(\$\{?[A-Za-z_]\w*\}?|<[^>]*>|\{\{.*\}\}|.*(put-the|changeme|your-token).*|…|\.\.\.)\Z", re.I
)

_REAL = {"$oauthtoken", "$token", "$app"}
"""User names of Quay that look like variables of a shell."""


def suspect(registry_type: str, credentials: Credentials, host: str = "") -> str | None:
    """The mistake that the form of the user name or password shows, in words; None if they look right.

    `host` is the registry's.
    """
    user, password = credentials.username, credentials.password
    for part, name in ((user, "user name"), (password, "password")):
        if part not in _REAL and _PLACEHOLDER.match(part.strip()):
            return f"the {name} is a placeholder that nobody filled in"
        if part != part.strip():
            return f"the {name} begins or ends with a space or a line break"
    own = PROVIDERS[registry_type].suspect
    found = _encoded_twice(password) or _of_another(registry_type, password)
    return found or (own(user, password, host) if own is not None else None)


def _of_another(registry_type: str, password: str) -> str | None:
    """A token of another provider; a Generic registry may be any's."""
    found = next((of for prefix, of in TOKENS.items() if password.startswith(prefix)), None)
    if found is None or registry_type in {found[0], "Generic"}:
        return None
    return f"this is a token of {found[1]}, and the Registry is of type {registry_type}"


def _encoded_twice(password: str) -> str | None:
    try:
        text = base64.b64decode(password, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    known = text.startswith(tuple(TOKENS))
    return "the password is base64 of a token: data wants it encoded once, stringData not at all" if known else None
