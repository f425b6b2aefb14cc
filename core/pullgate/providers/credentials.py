"""Credentials for an upstream: a user and a password, whatever exchange they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

TOKENS: Mapping[str, tuple[str, str]] = {
    "dckr_pat_": ("DockerHub", "Docker Hub"),
    "dckr_oat_": ("DockerHub", "Docker Hub"),
    "ghp_": ("GHCR", "GitHub"),
    "gho_": ("GHCR", "GitHub"),
    "ghs_": ("GHCR", "GitHub"),
    "github_pat_": ("GHCR", "GitHub"),
    "glpat-": ("GitLab", "GitLab"),
    "gldt-": ("GitLab", "GitLab"),
    "glcbt-": ("GitLab", "GitLab"),
    "dop_v1_": ("DigitalOcean", "DigitalOcean"),
    "AKCp": ("Artifactory", "Artifactory"),
    "cmVmdGtuOj": ("Artifactory", "Artifactory"),
}
"""Prefix of a token -> the registry type that accepts it, and the provider's name."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user and password of an upstream. An anonymous Registry has None instead."""

    username: str = field(repr=False)
    """May be a secret, too: some providers take a token as the user. Show `account` instead."""
    password: str = field(repr=False)
    expires_at: datetime | None = None
    """When the upstream stops accepting them; None if they do not expire."""

    @property
    def account(self) -> str:
        """The user name for people to read; not where it is the password itself, or a token."""
        if self.username == self.password or self.username.startswith((*TOKENS, "eyJ")):
            return "the token"
        return self.username
