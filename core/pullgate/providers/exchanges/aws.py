"""Amazon ECR: AWS keys or an AWS identity -> the password of the user AWS (GetAuthorizationToken).

The password is that of an identity, not of a registry: it opens whatever the identity may read, in other accounts, too,
where a repository's policy lets it in.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pullgate.providers.credentials import Credentials
from pullgate.providers.destination import ECR_HOST, wrong_host
from pullgate.providers.exchange import (
    CredentialsInvalid,
    ExchangeFailed,
    Issued,
    Tools,
    load_extra,
    run_blocking,
)
from pullgate.providers.provider import Subject
from pullgate.resources.registry import WorkloadIdentity

PUBLIC_REGION: Final = "us-east-1"
"""The only region of ECR Public's API."""
AUDIENCE: Final = "sts.amazonaws.com"
_PULL: Final = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:BatchImportUpstreamImage",
    "ecr:CreateRepository",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:ListImages",
)
"""Actions that a pull and a list of tags may need. The first pull through a pull-through cache imports the image and creates its
repository (ECR's user guide, "IAM permissions required to sync an upstream registry")."""
SESSION_POLICIES: Final = {
    service: json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    )
    for service, actions in {
        "ecr": _PULL,
        "ecr-public": ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"),
    }.items()
}
"""By service: a role's session may do no more than this, and of this what the role's own policies let it (IAM's user guide,
"Session policies"). So a role that may do more gives a password that pulls."""
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d\Z")


@dataclass(frozen=True, slots=True)
class EcrHost:
    """The parts of a private registry's name (ECR's documentation, "Registry concepts")."""

    region: str
    account: str = ""
    fips: bool = False
    dual_stack: bool = False


def parse_ecr_host(host: str) -> EcrHost | None:
    """ACCOUNT.dkr.ecr.REGION.amazonaws.com, with -fips, .cn, and dual-stack's dkr-ecr…on.aws; None for another name."""
    found = ECR_HOST.fullmatch(host.partition(":")[0])
    if found is None:
        return None
    return EcrHost(found["region"], found["account"], bool(found["fips"]), found["dual"] == "-ecr")


@dataclass(frozen=True, slots=True)
class Place:
    """The ECR endpoint that issues the token."""

    service: str
    """ecr or ecr-public."""
    region: str
    fips: bool = False
    dual_stack: bool = False

    @property
    def kind(self) -> str:
        """The token's kind, for status.credentials.kind."""
        return "ECRToken" if self.service == "ecr" else "ECRPublicToken"


def find_place(registry_type: str, host: str, region: str | None) -> Place:
    """The service that issues the token of `host`; `region` overrides the name's own. Raises CredentialsInvalid."""
    if registry_type == "ECRPublic":
        return Place("ecr-public", PUBLIC_REGION)
    if region is not None and not _REGION.match(region):
        raise CredentialsInvalid(f"region {region[:40]!r} is none of AWS", "write it like eu-central-1")
    found = parse_ecr_host(host)
    if found is None:
        raise wrong_host("ECRToken", host)
    return Place("ecr", region or found.region, found.fips, found.dual_stack)


@dataclass(frozen=True, slots=True)
class EcrKeys:
    """An access key, of a user or (with a session token) of a role."""

    place: Place
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)

    @property
    def source(self) -> str:
        """See Exchange."""
        return f"access key {self.access_key_id}"

    @property
    def kind(self) -> str:
        """See Exchange."""
        return self.place.kind

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""
        keys = StaticKeys(self.access_key_id, self.secret_access_key, self.session_token)
        return await run_blocking(lambda: _explained(lambda: _ask_ecr(self.place, keys), self))


@dataclass(frozen=True, slots=True)
class EcrIdentity:
    """A role that trusts a ServiceAccount (web identity); or the process' own identity, and perhaps a role of it."""

    place: Place
    namespace: str
    service_account: str | None
    role_arn: str | None

    @property
    def source(self) -> str:
        """See Exchange."""
        return f"role {self.role_arn}" if self.role_arn is not None else "the operator's own AWS identity"

    @property
    def kind(self) -> str:
        """See Exchange."""
        return self.place.kind

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""
        if self.service_account is not None:
            token = await tools.service_account_token(self.namespace, self.service_account, AUDIENCE)
            return await run_blocking(lambda: _explained(lambda: self._by_web_identity(token), self))
        return await run_blocking(lambda: _explained(self._by_own_identity, self))

    def _by_web_identity(self, token: str) -> Issued:
        sts = build_client("sts", self.place, _UNSIGNED)
        answered = sts.assume_role_with_web_identity(
            RoleArn=self.role_arn,
            RoleSessionName=self._session_name,
            WebIdentityToken=token,
            Policy=SESSION_POLICIES[self.place.service],
        )
        return _ask_ecr(self.place, _keys_of(answered))

    def _by_own_identity(self) -> Issued:
        if self.role_arn is None:
            return _ask_ecr(self.place, None)
        # The Registry's author names the role but cannot choose the external id, which tells AWS for whom the operator
        # asks (the confused deputy, IAM's user guide).
        answered = build_client("sts", self.place, None).assume_role(
            RoleArn=self.role_arn,
            RoleSessionName=self._session_name,
            ExternalId=external_id(self.namespace),
            Policy=SESSION_POLICIES[self.place.service],
        )
        return _ask_ecr(self.place, _keys_of(answered))

    @property
    def _session_name(self) -> str:
        return f"pullgate-{self.namespace}"[:64]


def external_id(namespace: str) -> str:
    """The external id that a trust policy can require, so that no other namespace can use the role."""
    return f"pullgate/{namespace}"


def exchange_of_keys(registry_type: str) -> Callable[[Mapping[str, str], str], EcrKeys]:
    """`KeyExchange.make` of a type."""

    def make(data: Mapping[str, str], host: str) -> EcrKeys:
        place = find_place(registry_type, host, data.get("region"))
        return EcrKeys(place, data["accessKeyID"], data["secretAccessKey"], data.get("sessionToken"))

    return make


def exchange_of_identity(registry_type: str) -> Callable[[WorkloadIdentity, Subject], EcrIdentity]:
    """`IdentityWay.make` of a type."""

    def make(identity: WorkloadIdentity, subject: Subject) -> EcrIdentity:
        aws = identity.aws
        if aws is None:
            raise TypeError("another cloud")
        place = find_place(registry_type, subject.host, aws.region)
        return EcrIdentity(place, subject.namespace, identity.service_account_name, aws.role_arn)

    return make


# --- in a thread, by botocore --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """The access key of a user, or (with a token) of a role."""

    id: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)


class _Unsigned:
    """No credentials are shown, and none are looked for."""


_UNSIGNED: Final = _Unsigned()


def _keys_of(answered: Mapping[str, Any]) -> StaticKeys:
    found = answered["Credentials"]
    return StaticKeys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def build_client(service: str, place: Place, keys: StaticKeys | _Unsigned | None) -> Any:
    """A client; without `keys` botocore looks for the process' own (environment, web identity, pod, instance)."""
    session_room = load_extra("botocore.session", "aws")
    config_room = load_extra("botocore.config", "aws")
    options: dict[str, Any] = {
        "connect_timeout": 5,
        "read_timeout": 10,
        "retries": {"total_max_attempts": 2, "mode": "standard"},
        "use_fips_endpoint": place.fips,
        "use_dualstack_endpoint": place.dual_stack,
    }
    shown: dict[str, Any] = {}
    if isinstance(keys, _Unsigned):
        options["signature_version"] = load_extra("botocore", "aws").UNSIGNED
    elif keys is not None:
        shown = {"aws_access_key_id": keys.id, "aws_secret_access_key": keys.secret, "aws_session_token": keys.token}
    session = session_room.Session()
    return session.create_client(service, region_name=place.region, config=config_room.Config(**options), **shown)


def _ask_ecr(place: Place, keys: StaticKeys | None) -> Issued:
    data = build_client(place.service, place, keys).get_authorization_token()["authorizationData"]
    row = data[0] if isinstance(data, list) else data
    try:
        user, colon, password = base64.b64decode(row["authorizationToken"], validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ExchangeFailed("ExchangeError", "AWS answered with a token that cannot be read", "it is tried again")
    end: datetime = row["expiresAt"]
    return Issued(Credentials(user, password, end.astimezone(UTC)), place.kind)


_REJECTED: Final = frozenset(
    {
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "AuthFailure",
    }
)
_ENDED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_UNTRUSTED: Final = frozenset({"InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"})
_NEEDED: Final = {
    "ecr": "ECR: ecr:GetAuthorizationToken",
    "ecr-public": "ECRPublic: ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken",
}
"""Service -> its guide, and the actions that the guide's policy allows."""
_LIMITED: Final = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})


def _explained(call: Callable[[], Issued], asker: EcrKeys | EcrIdentity) -> Issued:
    """Run `call`; an error of botocore becomes an ExchangeFailed with its code or type, without its text."""
    errors = load_extra("botocore.exceptions", "aws")
    try:
        return call()
    except errors.ClientError as error:
        failure = _of_code(error.response, error.operation_name, asker)
    except (errors.NoCredentialsError, errors.CredentialRetrievalError, errors.PartialCredentialsError):
        failure = ExchangeFailed(
            "IdentityMissing",
            "there is no AWS identity here",
            "run the operator with IRSA, EKS Pod Identity or an instance profile, or name a serviceAccountName",
        )
    except (errors.EndpointConnectionError, errors.ConnectionError, errors.HTTPClientError) as error:
        words = f"AWS cannot be reached in this region ({type(error).__name__})"
        failure = ExchangeFailed("ExchangeUnreachable", words, "check the region and egress; it is tried again")
    except errors.BotoCoreError as error:
        words = f"AWS could not be asked ({type(error).__name__})"
        failure = ExchangeFailed("ExchangeError", words, "check region and role; it is tried again")
    raise failure


def _of_code(response: Mapping[str, Any], operation: str, asker: EcrKeys | EcrIdentity) -> ExchangeFailed:
    source = asker.source
    code = str(response.get("Error", {}).get("Code", ""))[:60]
    text = str(response.get("Error", {}).get("Message", ""))
    if code == "RequestExpired" or "Signature expired" in text or "Signature not yet current" in text:
        return ExchangeFailed("ClockWrong", f"AWS says that the time here is wrong ({code})", "set the clock")
    if code in _ENDED and operation == "AssumeRoleWithWebIdentity":
        return ExchangeFailed(
            "ClockWrong", f"AWS says that the ServiceAccount's token has ended ({code})", "set the clock"
        )
    if code in _ENDED:
        return ExchangeFailed(
            "KeysRejected", f"the session token of {source} has ended ({code})", "use keys of a user, or an identity"
        )
    if code in _REJECTED:
        return ExchangeFailed(
            "KeysRejected", f"AWS does not take {source} ({code})", "make a new access key in IAM and change the Secret"
        )
    if code in _UNTRUSTED or (code.startswith("AccessDenied") and operation == "AssumeRoleWithWebIdentity"):
        return ExchangeFailed(
            "IdentityRejected",
            f"AWS does not let this ServiceAccount use {source} ({code})",
            "its trust policy must name the cluster's OIDC provider, the audience sts.amazonaws.com and the ServiceAccount",
        )
    if code.startswith("AccessDenied") and operation == "AssumeRole":
        return ExchangeFailed(
            "IdentityRejected",
            f"AWS does not let the operator's identity use {source} ({code})",
            "its trust policy must name that identity, and an external id if it asks for one: pullgate/ and the namespace",
        )
    if code.startswith(("AccessDenied", "UnauthorizedOperation", "NotAuthorized")):
        return ExchangeFailed(
            "PermissionMissing",
            f"{source} may not call {operation} ({code})",
            f"attach the policy of pullgate registry guide {_NEEDED[asker.place.service]} on *",
        )
    if code in _LIMITED:
        return ExchangeFailed("ExchangeLimited", f"AWS limits {operation} ({code})", "it is tried again later")
    return ExchangeFailed("ExchangeError", f"AWS answered {operation} with {code or 'an error'}", "it is tried again")
