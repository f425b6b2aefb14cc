"""Google Artifact Registry, and the gcr.io hosts that it serves."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble

_COMMANDS = (
    (
        "gcloud iam service-accounts create pullgate --project {project}\n"
        "gcloud artifacts repositories add-iam-policy-binding {repo} --project {project} --location {region} \\\n"
        "  --member serviceAccount:pullgate@{project}.iam.gserviceaccount.com --role roles/artifactregistry.reader\n"
        "gcloud iam service-accounts keys create key.json --iam-account pullgate@{project}.iam.gserviceaccount.com"
    ),
    "kubectl create secret generic {name}-credentials -n {app} --from-file serviceAccountKey=key.json && rm key.json",
)
_TROUBLES = (
    Trouble(
        "UpstreamUnauthorized",
        "the key was deleted or disabled, or its JSON was cut at a newline",
        "create a new key; use --from-file",
    ),
    Trouble(
        "UpstreamForbidden", "the account lacks Artifact Registry Reader on this repository", "add the binding above"
    ),
    Trouble(
        "RepositoryUnknown", "the path lacks the project or the repository", "images read HOST/PROJECT/REPOSITORY/IMAGE"
    ),
)
_NOTES = (
    "The user is `_json_key`, which Pullgate sets by itself for `serviceAccountKey`.",
    "A short-lived access token works as basic-auth with the user `oauth2accesstoken`, and ends after an hour.",
    "An organization policy may forbid keys (iam.disableServiceAccountKeyCreation); workload identity is not there yet.",
)


def _guide(type_: str, title: str, host: str) -> Guide:
    return Guide(
        type=type_,
        title=title,
        summary="A key of a service account that has the role Artifact Registry Reader on the repository.",
        steps=(
            "Create a service account for Pullgate alone.",
            "Grant it Artifact Registry Reader on the repository, not on the project.",
            "Create a JSON key, put it into the Secret as it is, and delete the file.",
        ),
        permission="roles/artifactregistry.reader",
        commands=_COMMANDS,
        secret={"serviceAccountKey": "{key}"},
        host=host,
        troubles=_TROUBLES,
        notes=_NOTES,
        user_example="_json_key",
    )


GUIDES = (
    _guide("GAR", "Google Artifact Registry", "europe-west1-docker.pkg.dev"),
    _guide("GCR", "gcr.io, served by Artifact Registry", ""),
)
