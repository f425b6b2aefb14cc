"""Google Artifact Registry, and the gcr.io hosts that it serves."""

from __future__ import annotations

import base64

from pullgate.oci.json_text import read_json
from pullgate.providers.exchanges.google import exchange_of_identity
from pullgate.providers.guide import Guide, Identity, Trouble
from pullgate.providers.provider import PASSWORD, IdentityWay, KeyPair, Provider


def _commands(repository: str, location: str) -> tuple[str, ...]:
    return (
        (
            "gcloud iam service-accounts create pullgate --project {project}\n"
            f"gcloud artifacts repositories add-iam-policy-binding {repository} --project {{project}} --location {location} \\\n"
            "  --member serviceAccount:pullgate@{project}.iam.gserviceaccount.com --role roles/artifactregistry.reader\n"
            "gcloud iam service-accounts keys create key.json --iam-account pullgate@{project}.iam.gserviceaccount.com"
        ),
        "kubectl create secret generic {name}-credentials -n {app} --from-file serviceAccountKey=key.json && rm key.json",
    )


_IDENTITY = Identity(
    cloud="gcp",
    fields=(
        "{provider: projects/{number}/locations/global/workloadIdentityPools/{pool}/providers/{pool}, "
        "serviceAccount: pullgate@{project}.iam.gserviceaccount.com}"
    ),
    steps=(
        "Create a workload identity pool with a provider for the cluster's OIDC issuer (a GKE cluster has one already: the operator's own identity, below).",
        "Give the service account Artifact Registry Reader, and let the ServiceAccount act as it; or give the ServiceAccount's principal the role and leave out serviceAccount.",
        "Or the operator's own identity (Workload Identity Federation for GKE, or a credential configuration that GOOGLE_APPLICATION_CREDENTIALS names): leave out serviceAccountName and provider, and start the operator with `--own-identity {app}`.",
    ),
    trust={
        "By commands": (
            "gcloud iam workload-identity-pools create {pool} --location global --project {project}\n"
            "gcloud iam workload-identity-pools providers create-oidc {pool} --workload-identity-pool {pool} --location global \\\n"
            "  --project {project} --issuer-uri {issuer} --attribute-mapping google.subject=assertion.sub\n"
            "gcloud iam service-accounts add-iam-policy-binding pullgate@{project}.iam.gserviceaccount.com --project {project} \\\n"
            "  --role roles/iam.workloadIdentityUser \\\n"
            "  --member principal://iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/{pool}/subject/system:serviceaccount:{app}:{name}-puller"
        ),
    },
)
_TROUBLES = (
    Trouble(
        "IdentityRejected",
        "Google does not trust the ServiceAccount",
        "compare provider, issuer and attribute condition",
    ),
    Trouble(
        "PermissionMissing", "the identity may not act as the service account", "roles/iam.workloadIdentityUser on it"
    ),
    Trouble(
        "UpstreamUnauthorized",
        "the key was deleted or disabled, or its JSON was cut at a newline",
        "create a new key; use --from-file",
    ),
    Trouble(
        "UpstreamForbidden",
        "the account lacks Artifact Registry Reader on this repository (Google's sentence names artifactregistry.repositories.downloadArtifacts), the API is not enabled, or billing is off",
        "add the binding above, or do as the sentence says",
    ),
)
_SUMMARY = "A key of a service account that has the role Artifact Registry Reader on the repository."
_STEPS = (
    "Create a service account for Pullgate alone.",
    "Grant it Artifact Registry Reader on the repository, not on the project.",
    "Create a JSON key, put it into the Secret as it is, and delete the file. Or use no key at all: see the workload identity below.",
)
_NOTES = (
    "The user is `_json_key`, which Pullgate sets by itself for `serviceAccountKey`.",
    "A short-lived access token works as basic-auth with the user `oauth2accesstoken`, and ends after an hour.",
    "An access token that Pullgate asks for has the scope devstorage.read_only, which is all that a pull needs, and goes to gcr.io, *.gcr.io and *.pkg.dev over https alone.",
    "An organization policy may forbid keys (iam.disableServiceAccountKeyCreation); use the workload identity then.",
)


_GAR = Guide(
    type="GAR",
    title="Google Artifact Registry",
    summary=_SUMMARY,
    steps=_STEPS,
    permission="roles/artifactregistry.reader",
    commands=_commands("{repo}", "{region}"),
    secret={"serviceAccountKey": "{key}"},
    host="europe-west1-docker.pkg.dev",
    troubles=(
        *_TROUBLES,
        Trouble(
            "RepositoryUnknown",
            "the path lacks the project or the repository",
            "images read HOST/PROJECT/REPOSITORY/IMAGE",
        ),
    ),
    notes=_NOTES,
    user_example="_json_key",
    identity=_IDENTITY,
)
_GCR = Guide(
    type="GCR",
    title="gcr.io, served by Artifact Registry",
    summary=_SUMMARY,
    steps=_STEPS,
    permission="roles/artifactregistry.reader",
    commands=_commands("gcr.io", "us"),
    secret={"serviceAccountKey": "{key}"},
    troubles=(
        *_TROUBLES,
        Trouble("RepositoryUnknown", "the path lacks the project", "images read gcr.io/PROJECT/IMAGE"),
    ),
    notes=(
        "The repository of each host has the host's name: gcr.io and us.gcr.io are in the location us, eu.gcr.io in europe, asia.gcr.io in asia. For another than gcr.io set spec.host.",
        *_NOTES,
    ),
    user_example="_json_key",
    identity=_IDENTITY,
)

_HINTS = {
    "UpstreamUnauthorized": "create a new key of the service account and put the whole JSON into serviceAccountKey",
    "UpstreamForbidden": "give the service account Artifact Registry Reader (downloadArtifacts) on the repository of {repository}",
}
_GAR_HINTS = {**_HINTS, "RepositoryUnknown": "images read PROJECT/REPOSITORY/IMAGE: check all three"}
_GCR_HINTS = {**_HINTS, "RepositoryUnknown": "images read PROJECT/IMAGE: check both"}


def _suspect(user: str, password: str, _: str) -> str | None:
    if user == "oauth2accesstoken":
        return "an access token ends after an hour: use a service account key" if password.startswith("ya29.") else None
    if user == "_json_key_base64":
        return None if _is_key(_decoded(password)) else "this is no base64 of a whole JSON key: put the file as it is"
    if password.startswith("ya29."):
        return "this is an access token, which ends after an hour, of the user oauth2accesstoken: use a service account key"
    try:
        read_json(password)
    except ValueError:
        cut = password.lstrip().startswith("{")
        if not cut and _is_key(_decoded(password)):
            return "this is the base64 of a JSON key: put the file as it is, or use the user _json_key_base64"
        return "the JSON key was cut, at a line break perhaps: put the whole file" if cut else "this is no JSON key"
    if not _is_key(password):
        return "this JSON is no key of a service account"
    if user != "_json_key":
        return "the user name of a JSON key is _json_key"
    return None


def _is_key(text: str) -> bool:
    try:
        key = read_json(text)
    except ValueError:
        return False
    return isinstance(key, dict) and key.get("type") == "service_account"


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


_WAYS = (KeyPair(None, "serviceAccountKey", "_json_key"), PASSWORD)

PROVIDERS = tuple(
    Provider(guide, ways=_WAYS, hints=hints, suspect=_suspect, identity=IdentityWay("gcp", exchange_of_identity))
    for guide, hints in ((_GAR, _GAR_HINTS), (_GCR, _GCR_HINTS))
)
