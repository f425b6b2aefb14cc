"""Amazon ECR, private and public."""

from __future__ import annotations

import re

from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import Provider

_KEY_ID = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}\Z")
_SECRET = re.compile(r"[A-Za-z0-9/+=]{40}\Z")
_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
  {"Effect": "Allow", "Resource": "arn:aws:ecr:{region}:{account}:repository/*",
   "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]}]}"""
_PUBLIC_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Resource": "*",
   "Action": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"]}]}"""
_MEANWHILE = (
    "Pullgate does not exchange AWS keys for a token yet, nor use a workload identity: until it does, something of yours "
    "must write the password anew before its 12 hours are over (a CronJob with the first command)."
)

_PRIVATE = Guide(
    type="ECR",
    title="Amazon ECR",
    summary="A password of 12 hours for the user AWS, of an identity that may read the repositories.",
    steps=(
        "IAM, Policies, Create: paste the policy below. GetAuthorizationToken knows no resource but `*`.",
        "Attach it to a role or user for Pullgate alone. The managed policy AmazonEC2ContainerRegistryReadOnly is wider and works, too.",
        "Repositories of another account: add this identity to the repository's own policy there, with the same three actions.",
    ),
    permission=_POLICY,
    commands=(
        (
            "kubectl create secret generic {name}-credentials -n {app} --type kubernetes.io/basic-auth \\\n"
            '  --from-literal username=AWS --from-literal password="$(aws ecr get-login-password --region {region})" \\\n'
            "  --dry-run=client -o yaml | kubectl apply -f -"
        ),
    ),
    secret={"username": "AWS", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    troubles=(
        Trouble(
            "UpstreamUnauthorized",
            "the password is older than 12 hours (ECR answers 403), or its region is another",
            "write it anew",
        ),
        Trouble(
            "UpstreamForbidden",
            "the identity lacks an action, or the repository's policy does",
            "compare with the policy above",
        ),
        Trouble("RepositoryUnknown", "no such repository in this account and region", "check spec.host"),
    ),
    notes=(
        _MEANWHILE,
        "Hosts end in .amazonaws.com.cn in China; FIPS endpoints are ACCOUNT.dkr.ecr-fips.REGION.amazonaws.com.",
    ),
    user_example="AWS",
)
_PUBLIC = Guide(
    type="ECRPublic",
    title="Amazon ECR Public",
    summary="Nothing for public images; a login raises the rate limit.",
    steps=(
        "Public images need no login: leave the credentials anonymous.",
        "For the higher limit, an identity with the policy below; its region is always us-east-1.",
    ),
    permission=_PUBLIC_POLICY,
    commands=("aws ecr-public get-login-password --region us-east-1",),
    secret={},
    troubles=(
        Trouble(
            "UpstreamProtocol, UpstreamError",
            "an expired password is answered 400 here",
            "write it anew, or pull anonymously",
        ),
    ),
    notes=(_MEANWHILE,),
    user_example="AWS",
)

_HINTS = {
    "UpstreamUnauthorized": "the ECR password lives 12 hours: write it anew with aws ecr get-login-password of the same region",
    "UpstreamForbidden": "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on {repository}, also in its own policy if the account differs",
    "RepositoryUnknown": "check account and region in spec.host, and the repository name",
}
_PUBLIC_HINTS = {
    "UpstreamUnauthorized": "write the password anew with aws ecr-public get-login-password --region us-east-1, or pull anonymously",
}


def _suspect(user: str, password: str) -> str | None:
    if _KEY_ID.match(user) or _SECRET.match(password):
        return "this is an AWS access key: ECR wants the user AWS and what aws ecr get-login-password prints"
    if user != "AWS":
        return "the user name of ECR is always AWS"
    return None


PROVIDERS = (
    Provider(_PRIVATE, hints=_HINTS, suspect=_suspect),
    Provider(_PUBLIC, hints=_PUBLIC_HINTS, suspect=_suspect),
)
