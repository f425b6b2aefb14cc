"""The user and password for an upstream, from a Secret or from any exchange."""

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
"""Prefix of a token -> the registry type that takes it, and its provider."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One user and password of an upstream. An anonymous Registry has None instead."""

    username: str = field(repr=False)
    """May be a secret, too: some providers take a token as the user. Show `account` instead."""
    password: str = field(repr=False)
    expires_at: datetime | None = None
    """When they expire at the upstream; None if they have no expiry of their own."""

    @property
    def account(self) -> str:
        """The user name for people to read; `the token` if it is a token or equals the password."""
        if self.username == self.password or self.username.startswith((*TOKENS, "eyJ")):
            return "the token"
        return self.username
