"""Azure Container Registry."""

from __future__ import annotations

import re

from pullgate.providers.exchanges.azure import exchange_of_identity, exchange_of_keys
from pullgate.providers.guide import Guide, Identity, Trouble
from pullgate.providers.provider import PASSWORD, TOKEN, IdentityWay, KeyExchange, KeyPair, Provider

_GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.I)
_CLIENT_SECRET = re.compile(r"[\w~.]{3}\dQ~[\w~.-]{31,34}\Z", re.ASCII)
_REGISTRY_PASSWORD = re.compile(r"[A-Za-z0-9+/]{42}\+ACR[A-D][A-Za-z0-9+/]{5}\Z")
"""Passwords of tokens and of the admin user, with the mark by which Microsoft's own scanners find them."""

_GUIDE = Guide(
    type="ACR",
    title="Azure Container Registry",
    summary="A service principal that may read the repositories, or a token of the registry with a scope map.",
    steps=(
        "Create a service principal for Pullgate alone, with Container Registry Repository Reader on this registry and nothing else. A registry without ABAC (Properties, Role assignment permissions mode) wants AcrPull instead.",
        "Put its id, its secret and the tenant into the Secret. The secret ends (a year by default): note the day as the annotation `pullgate.dev/expires-at` of the Secret, and Pullgate warns in time.",
        (
            "Or, for some repositories only: the registry, Repository permissions, Tokens: a token with content/read and metadata/read; its name and "
            "password are the user and password of a basic-auth Secret. Its password may have an end, too."
        ),
    ),
    permission="Container Registry Repository Reader (with ABAC), or AcrPull (without)",
    commands=(
        (
            "# without ABAC: --role AcrPull\n"
            'az ad sp create-for-rbac --name pullgate --role "Container Registry Repository Reader" \\\n'
            '  --scopes "$(az acr show --name {registry} --query id --output tsv)" --query "{clientID: appId, clientSecret: password, tenantID: tenant}"'
        ),
        (
            "# or a token for one repository\n"
            "az acr token create --name pullgate --registry {registry} --repository {repository} content/read metadata/read"
        ),
    ),
    secret={"clientID": "{user}", "clientSecret": "{token}", "tenantID": "{tenant}"},
    host="myregistry.azurecr.io",
    troubles=(
        Trouble(
            "KeysRejected",
            "Entra ID refuses the secret, the application or the tenant; the message names its AADSTS code",
            "az ad sp credential reset; change the Secret",
        ),
        Trouble(
            "IdentityRejected",
            "no federated credential fits the ServiceAccount",
            "compare issuer, subject and audience with the commands above",
        ),
        Trouble(
            "PermissionMissing", "the registry gives the identity no token", "the role on the registry; its firewall"
        ),
        Trouble(
            "UpstreamUnauthorized",
            "the secret is over, or was reset; a registry that answers 401 to a login without any role looks the same",
            "az ad sp credential reset; change the Secret; az role assignment list",
        ),
        Trouble(
            "UpstreamForbidden",
            "the role is missing here (ABAC wants another one, see step 1), or the token's scope map lacks the repository",
            "az role assignment list; az acr token show",
        ),
        Trouble(
            "UpstreamForbidden, `client with IP … is not allowed access`",
            "the registry's firewall",
            "Networking: allow that address",
        ),
    ),
    notes=(
        "A registry with ABAC ignores AcrPull, and a registry without it ignores Container Registry Repository Reader. ABAC is to become the default.",
        "The admin user (its name is that of the registry) works where it is switched on, and should not be used: it cannot be limited.",
        "A geo-replicated registry redirects blobs to a data endpoint of its own domain; one of its regions is `myregistry.REGION.geo.azurecr.io`.",
        "With a service principal or a workload identity spec.host is the login server, NAME.azurecr.io (.us, .cn), also for a registry with a custom domain: their tokens go to no other name. A user and a password (the `token` of the registry) work with the custom domain.",
    ),
    identity=Identity(
        cloud="azure",
        fields="{tenantID: {tenant}, clientID: {client}}",
        steps=(
            "Create a managed identity for the app, with Container Registry Repository Reader on this registry and nothing else (without ABAC: AcrPull).",
            "Let it trust the ServiceAccount: the cluster's OIDC issuer (AKS: `az aks show --query oidcIssuerProfile.issuerUrl`), and the audience api://AzureADTokenExchange.",
            "Or the operator's own identity: leave out serviceAccountName, and start the operator with `--own-identity {app}`.",
        ),
        trust={
            "By commands": (
                "az identity create --name pullgate-{app} --resource-group {group}\n"
                'az role assignment create --role "Container Registry Repository Reader" --assignee {client} --scope "$(az acr show --name {registry} --query id --output tsv)"\n'
                "az identity federated-credential create --name pullgate --identity-name pullgate-{app} --resource-group {group} \\\n"
                "  --issuer {issuer} --subject system:serviceaccount:{app}:{name}-puller --audiences api://AzureADTokenExchange"
            ),
        },
    ),
    user_example="00000000-0000-0000-0000-000000000000",
)

_HINTS = {
    "UpstreamUnauthorized": "the secret of the service principal is over or was reset: az ad sp credential reset",
    "UpstreamForbidden": "give the identity Container Registry Repository Reader (without ABAC: AcrPull), or the token a scope map, for {repository}; see the firewall",
}


def _suspect(user: str, password: str, host: str) -> str | None:
    if password.startswith("eyJ") and user != "00000000-0000-0000-0000-000000000000":
        return "a token of az acr login wants the user 00000000-0000-0000-0000-000000000000, and ends after three hours"
    if _GUID.match(password):
        return "the secret is a GUID: that is its id; use its value, which is shown once"
    if _CLIENT_SECRET.match(password) and not _GUID.match(user):
        return "this is the secret of an application of Entra ID: its user is the client id, a GUID"
    if _REGISTRY_PASSWORD.match(password) and _GUID.match(user):
        return (
            "this is a password of the registry's own: its user is the name of the token, not the id of an application"
        )
    if user and user.lower() == host.partition(".")[0]:
        return "this is the admin user of the registry, which is switched off by default: use a token or a service principal"
    return None


_WAYS = (
    KeyExchange(("clientID", "clientSecret", "tenantID"), exchange_of_keys),
    KeyPair("clientID", "clientSecret"),
    PASSWORD,
    TOKEN,
)

PROVIDERS = (
    Provider(_GUIDE, ways=_WAYS, identity=IdentityWay("azure", exchange_of_identity), hints=_HINTS, suspect=_suspect),
)
