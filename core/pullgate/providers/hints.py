"""The vendor's next step at a registry, by type and fault. Pure; no text holds a secret."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.faults import Fault, plain_text

_BY_REASON: Mapping[str, str] = {
    "UpstreamUnauthorized": "check the user name and password in the Secret that the Registry names",
    "UpstreamForbidden": "give these credentials read access to {repository}",
    "RepositoryUnknown": "check the repository name, and that these credentials may see it",
    "ManifestUnknown": "check the tag, or push it",
    "BlobUnknown": "push the image again: one of its layers is missing",
    "UpstreamRateLimited": "wait, or use an account with a higher limit",
    "UpstreamUnreachable": "check spec.host, DNS and the network policy",
    "UpstreamTLS": "name the CA in spec.tls.caSecretRef, or mend the certificate",
    "UpstreamTimeout": "check the network on the way, and whether the registry is up",
    "UpstreamError": "the registry itself fails: see its status page or its log",
    "UpstreamProtocol": "check spec.host and its port: is there a registry?",
    "RealmRefused": "list the token server in spec.network.realmHosts, if it is the registrys own",
    "RedirectRefused": "set spec.network.allowPrivate, if the registry is in your own network",
    "CredentialsMissing": "create the Secret that the Registry names",
    "RegistrySuspended": "set spec.suspend to false",
    "DigestMismatch": "push the image again: what is stored is not what its digest says",
}

_BY_TYPE: Mapping[str, Mapping[str, str]] = {
    "DockerHub": {
        "UpstreamUnauthorized": "generate a new access token at Docker Hub for {username}, with Read-only",
        "UpstreamForbidden": "give the team of {username} Read-only access to {repository} at Docker Hub",
        "RepositoryUnknown": "check the name; Docker Hub says so, too, of a private repository that {username} may not see",
        "UpstreamRateLimited": "the pulls of the Docker Hub plan are used up: wait, or use a paid account",
    },
    "ECR": {
        "UpstreamUnauthorized": "the ECR password lives 12 hours: write it anew with aws ecr get-login-password of the same region",
        "UpstreamForbidden": "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on {repository}, also in its own policy if the account differs",
        "RepositoryUnknown": "check account and region in spec.host, and the repository name",
    },
    "ECRPublic": {
        "UpstreamUnauthorized": "write the password anew with aws ecr-public get-login-password --region us-east-1, or pull anonymously",
    },
    "GAR": {
        "UpstreamUnauthorized": "create a new key of the service account and put the whole JSON into serviceAccountKey",
        "UpstreamForbidden": "give the service account Artifact Registry Reader on the repository of {repository}",
        "RepositoryUnknown": "images read PROJECT/REPOSITORY/IMAGE: check all three",
    },
    "GHCR": {
        "UpstreamUnauthorized": "generate a new classic token with read:packages: this one is wrong or expired",
        "UpstreamForbidden": "the token needs read:packages, SSO authorization where the organization requires it, and access to the package {repository}",
        "ManifestUnknown": "check the tag, and that the account may see the package",
    },
    "Quay": {
        "UpstreamUnauthorized": "copy the token of the robot account {username} again: it was regenerated, or the robot deleted",
        "UpstreamForbidden": "give the robot account {username} read access to {repository}",
    },
    "ACR": {
        "UpstreamUnauthorized": "the secret of the service principal is over or was reset: az ad sp credential reset",
        "UpstreamForbidden": "give the service principal AcrPull on the registry, or the token a scope map with {repository}; look at the firewall, too",
    },
    "Harbor": {
        "UpstreamUnauthorized": "renew the secret of the robot account {username} in Harbor",
        "UpstreamForbidden": "let the robot account {username} pull from the project of {repository}; it may be disabled or over",
        "RealmRefused": "mend the external URL of Harbor, or list its host in spec.network.realmHosts",
    },
    "GitLab": {
        "UpstreamUnauthorized": "add a new deploy token with read_registry: this one is wrong, revoked or over",
        "UpstreamForbidden": "use a deploy token with read_registry of the project or group of {repository}",
        "RealmRefused": "list the host of GitLab itself in spec.network.realmHosts: it gives the tokens",
    },
    "Artifactory": {
        "UpstreamForbidden": "add Read on {repository} to the permission target of {username}",
        "RepositoryUnknown": "check the Docker repository in the path, or its subdomain in spec.host",
    },
    "Nexus": {
        "UpstreamUnauthorized": "check the login, and that the Docker Bearer Token realm is active under Security, Realms",
        "UpstreamForbidden": "give the role of {username} read and browse on the Docker repository",
        "UpstreamProtocol": "name the port of the Docker connector in spec.host, not that of Nexus",
    },
    "DigitalOcean": {
        "UpstreamUnauthorized": "generate a new API token with registry read",
        "RepositoryUnknown": "images read REGISTRY/IMAGE: check the name of the registry",
    },
}


def hint(registry_type: str, fault: Fault, *, username: str = "", repository: str = "") -> str:
    """What to do next, in at most 200 characters; empty where there is nothing to say."""
    own = _BY_TYPE.get("GAR" if registry_type == "GCR" else registry_type, {})
    text = own.get(fault.reason) or _BY_REASON.get(fault.reason, fault.default_hint)
    return plain_text(text.format(repository=repository or "the repository", username=username or "the account"))
