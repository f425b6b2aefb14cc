"""The hosts that may see a token that Pullgate asked for: those of the service that issued it, over https. Pure.

A tenant chooses the host of a Registry. A token of a cloud's identity opens more than that Registry, so it goes to
hosts that only this cloud runs: never to another name, never without TLS. A user and a password that a vendor wrote
into a Secret are his own, and go where he says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pullgate.providers.exchange import CredentialsInvalid
from pullgate.resources.registry import RegistrySpec

ECR_HOST: Final = re.compile(
    r"(?P<account>\d{12})\.dkr(?P<dual>-ecr|\.ecr)(?P<fips>-fips)?\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)\."
    r"(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws|on\.amazonwebservices\.(?:com\.cn|eu)"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
    re.ASCII,
)
"""ACCOUNT.dkr.ecr.REGION.SUFFIX, with -fips, and dual-stack's dkr-ecr…on.aws.

ECR's user guide, "Making requests to Amazon ECR registries"; the suffix of each partition is from botocore's
data/partitions.json. A VPC endpoint has the same names, by private DNS ("Amazon ECR interface VPC endpoints").
"""

GHE_COM: Final = re.compile(r"containers\.(?P<tenant>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.ghe\.com")
"""GitHub Enterprise Cloud with data residency: GitHub's documentation, "Working with the Container registry"."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"


@dataclass(frozen=True, slots=True)
class Destination:
    """The registry hosts of one service."""

    service: str
    hosts: re.Pattern[str]
    """Matches the whole name, lower case and without a port."""
    example: str

    def takes(self, host: str) -> bool:
        """True if `host` (canonical host[:port]) is one of them."""
        return self.hosts.fullmatch(host.removesuffix(":443")) is not None


_GOOGLE: Final = Destination(
    "Google Artifact Registry",
    # kubernetes/cloud-provider-gcp, pkg/gcpcredential/gcpcredential.go, containerRegistryUrls.
    re.compile(rf"gcr\.io|{_LABEL}\.gcr\.io|(?:{_LABEL}\.)+pkg\.dev"),
    "europe-west1-docker.pkg.dev",
)
DESTINATIONS: Final[Mapping[str, Destination]] = {
    "ECRToken": Destination("Amazon ECR", ECR_HOST, "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
    # ECR Public's user guide, "Making requests to Amazon ECR Public registries": the second name is dual-stack's.
    "ECRPublicToken": Destination(
        "Amazon ECR Public", re.compile(r"public\.ecr\.aws|ecr-public\.aws\.com"), "public.ecr.aws"
    ),
    "GoogleAccessToken": _GOOGLE,
    # acrLoginServerEndpoint of azure-cli-core's cloud.py: the public cloud, US Government, and 21Vianet's in China.
    "ACRRefreshToken": Destination(
        "Azure Container Registry",
        re.compile(rf"(?:{_LABEL}\.)+azurecr\.(?:io|us|cn)"),
        "myregistry.azurecr.io",
    ),
    # A GitHub Enterprise Server has containers.HOSTNAME; `exchange_of_keys` ties HOSTNAME to the Secret's apiURL.
    "GitHubAppToken": Destination("GitHub Packages", re.compile(rf"ghcr\.io|containers(?:\.{_LABEL})+"), "ghcr.io"),
}
"""By kind of token, as in status.credentials.kind. A token of a kind that is not here goes nowhere."""


def may_show(kind: str, host: str, *, plain_http: bool) -> bool:
    """True if a token of `kind` may be shown to the registry at `host` (canonical)."""
    destination = DESTINATIONS.get(kind)
    return destination is not None and not plain_http and destination.takes(host)


def wrong_host(kind: str, host: str) -> CredentialsInvalid:
    """The error of a Registry at `host`, to which no token of `kind` may go."""
    destination = DESTINATIONS[kind]
    return CredentialsInvalid(
        f"spec.host {host} is no host of {destination.service}, and its tokens go to no other",
        f"write spec.host like {destination.example}, or use a secretRef with a user name and password",
    )


def check_destination(kind: str, spec: RegistrySpec) -> None:
    """Raise CredentialsInvalid if the Registry would send a token of `kind` to somebody else than who issued it."""
    destination = DESTINATIONS[kind]
    if not destination.takes(spec.host):
        raise wrong_host(kind, spec.host)
    if spec.tls.plain_http:
        raise CredentialsInvalid(
            f"spec.tls.plainHTTP is set, and tokens of {destination.service} go over https alone",
            "remove spec.tls.plainHTTP",
        )
