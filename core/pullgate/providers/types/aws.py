"""Amazon ECR, private and public."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pullgate.providers.exchanges.aws import exchange_of_identity, exchange_of_keys
from pullgate.providers.guide import Guide, Identity, Trouble
from pullgate.providers.provider import PASSWORD, IdentityWay, KeyExchange, Provider

_KEY_ID = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}\Z")
_SECRET = re.compile(r"[A-Za-z0-9/+=]{40}\Z")
_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
  {"Effect": "Allow", "Resource": "arn:aws:ecr:{region}:{account}:repository/*",
   "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]}]}"""
_OTHER_ACCOUNT = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::{account}:user/pullgate"},
   "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]}]}"""
_PUBLIC_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Resource": "*",
   "Action": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"]}]}"""
_TRUST = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
   "Principal": {"Federated": "arn:aws:iam::{account}:oidc-provider/{issuer}"},
   "Condition": {"StringEquals": {
     "{issuer}:aud": "sts.amazonaws.com", "{issuer}:sub": "system:serviceaccount:{app}:{name}-puller"}}}]}"""
_OWN_TRUST = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": "sts:AssumeRole",
   "Principal": {"AWS": "arn:aws:iam::{account}:role/{operator}"},
   "Condition": {"StringEquals": {"sts:ExternalId": "pullgate/{app}"}}},
  {"Effect": "Allow", "Action": "sts:TagSession",
   "Principal": {"AWS": "arn:aws:iam::{account}:role/{operator}"}}]}"""
_POD_TRUST = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"],
   "Principal": {"Service": "pods.eks.amazonaws.com"}}]}"""
_OPERATOR_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"],
   "Resource": "arn:aws:iam::{account}:role/pullgate-{app}"}]}"""
_CACHE_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Resource": "arn:aws:ecr:{region}:{account}:repository/*",
   "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]}]}"""
_TAGS_POLICY = """\
{"Version": "2012-10-17", "Statement": [
  {"Effect": "Allow", "Resource": "arn:aws:ecr:{region}:{account}:repository/*", "Action": "ecr:ListImages"}]}"""
_IDENTITY = Identity(
    cloud="aws",
    fields='{roleARN: "arn:aws:iam::{account}:role/pullgate-{app}"}',
    steps=(
        "IAM, Identity providers: the cluster's OIDC issuer, with the audience sts.amazonaws.com (EKS: `eksctl utils associate-iam-oidc-provider`).",
        "IAM, Roles, Create: Web identity, with the policy above and the trust policy below.",
        "Or the operator's own identity (IRSA, EKS Pod Identity, instance profile): leave out serviceAccountName, start the operator with `--own-identity {app}`, and let the role trust it with the second policy. Pullgate sends the external id `pullgate/` and the namespace by itself.",
    ),
    trust={
        "The role's trust policy, for a ServiceAccount (trust.json)": _TRUST,
        "The role's trust policy, for the operator's own identity (EKS Pod Identity sends session tags, so it needs sts:TagSession)": _OWN_TRUST,
        "With EKS Pod Identity, the trust policy of the operator's own role": _POD_TRUST,
        "A role of another account also needs this permission on the operator's own role ({account} is the role's)": _OPERATOR_POLICY,
        "By commands": (
            "aws iam create-role --role-name pullgate-{app} --assume-role-policy-document file://trust.json\n"
            "aws iam put-role-policy --role-name pullgate-{app} --policy-name pull --policy-document file://policy.json"
        ),
    },
)
_CREATE_USER = (
    "aws iam create-user --user-name pullgate\n"
    "aws iam put-user-policy --user-name pullgate --policy-name pull --policy-document file://policy.json\n"
    "aws iam create-access-key --user-name pullgate"
)
_KEYS_TROUBLES = (
    Trouble(
        "KeysRejected",
        "AWS does not take the access key: wrong, deactivated, or its session token is over",
        "make a new one, change the Secret",
    ),
    Trouble(
        "PermissionMissing",
        "the identity may not call GetAuthorizationToken",
        "attach the policy above: its resource is `*`",
    ),
    Trouble(
        "IdentityRejected",
        "the role's trust policy does not name this ServiceAccount, audience or external id",
        "compare with the trust policies above",
    ),
    Trouble("ClockWrong", "AWS refuses requests of another time", "set the clock where the operator runs"),
)

_PRIVATE = Guide(
    type="ECR",
    title="Amazon ECR",
    summary="An access key, or a role that the cluster's identity may assume; Pullgate gets the 12-hour password and renews it.",
    steps=(
        "IAM, Policies, Create: paste the policy below. GetAuthorizationToken knows no resource but `*`.",
        "IAM, Users, Create: for Pullgate alone, without console access; attach the policy. The managed AmazonEC2ContainerRegistryPullOnly and AmazonEC2ContainerRegistryReadOnly work, too, and are wider.",
        "Security credentials, Create access key; or use no key at all: see the workload identity below.",
        "Repositories of another account: add this identity to the repository's own policy there. spec.host names the account that has the repository.",
    ),
    permission=_POLICY,
    policies={
        "To list tags, in the same policy": _TAGS_POLICY,
        "For a pull-through cache, in the same policy": _CACHE_POLICY,
        "For a repository of another account, its own policy there (other-account.json)": _OTHER_ACCOUNT,
    },
    commands=(
        _CREATE_USER,
        "# in the other account\naws ecr set-repository-policy --repository-name {repository} --policy-text file://other-account.json",
    ),
    secret={"accessKeyID": "{user}", "secretAccessKey": "{token}"},
    host="123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    troubles=(
        *_KEYS_TROUBLES,
        Trouble(
            "UpstreamUnauthorized",
            "the password was refused, also after it was renewed; as basic-auth, it is older than 12 hours",
            "check account and region in spec.host",
        ),
        Trouble(
            "UpstreamForbidden",
            "the identity lacks an action, or the repository's policy does; AWS's sentence names the action, the resource and the kind of policy",
            "add that action there",
        ),
        Trouble("RepositoryUnknown", "no such repository in this account and region", "check spec.host"),
    ),
    notes=(
        (
            "Hosts end in .amazonaws.com.cn in China, and ARNs begin with arn:aws-cn there, with arn:aws-us-gov in GovCloud; FIPS endpoints are ACCOUNT.dkr.ecr-fips.REGION.amazonaws.com, dual-stack ones ACCOUNT.dkr-ecr.REGION.on.aws. "
            "Passwords that Pullgate asks for go to these names alone. A VPC endpoint has them, too, by its private DNS names."
        ),
        "A role is assumed with a session policy that lets it pull and list tags, whatever else the role may do. Keys of a user, and the operator's own identity without a role, give a password of all that they may do.",
        "Keys of a role have a third part: `sessionToken`. They end, and nobody renews them.",
        "A basic-auth Secret with user AWS and what `aws ecr get-login-password` prints works for 12 hours.",
    ),
    user_example="AKIAIOSFODNN7EXAMPLE",
    identity=_IDENTITY,
)
_PUBLIC = Guide(
    type="ECRPublic",
    title="Amazon ECR Public",
    summary="Nothing for public images; a login raises the rate limit.",
    steps=(
        "Public images need no login: leave the credentials anonymous.",
        "For the higher limit, an identity with the policy below, as for ECR: `accessKeyID` and `secretAccessKey`, or a workload identity. Its region is always us-east-1.",
    ),
    permission=_PUBLIC_POLICY,
    commands=(_CREATE_USER,),
    secret={},
    troubles=(
        *_KEYS_TROUBLES,
        Trouble(
            "UpstreamUnauthorized",
            "a password that is over is answered 400 here; Pullgate renews its own",
            "as basic-auth: write it anew, or pull anonymously",
        ),
        Trouble(
            "UpstreamForbidden",
            "there is no such registry alias or repository, or it is not public",
            "check the alias: images read public.ecr.aws/ALIAS/IMAGE",
        ),
    ),
    user_example="AKIAIOSFODNN7EXAMPLE",
    identity=_IDENTITY,
)

_HINTS = {
    "UpstreamUnauthorized": "renew the access key or role of the Registry; as basic-auth, write the password anew: it lives 12 hours",
    "UpstreamForbidden": "allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer (tags: ecr:ListImages) on {repository}, also in its own policy if the account differs",
    "RepositoryUnknown": "check account and region in spec.host, and the repository name",
}
_PUBLIC_HINTS = {
    "UpstreamForbidden": "check the alias of the registry in {repository}: images of ECR Public are for everybody",
    "UpstreamUnauthorized": "renew the access key or role of the Registry, or pull anonymously",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if looks_like_aws_key(user, password):
        return "this is an AWS access key: put it into an Opaque Secret with the keys accessKeyID and secretAccessKey"
    if user != "AWS":
        return "the user name of ECR is always AWS"
    return None


def looks_like_aws_key(user: str, password: str) -> bool:
    """True if either has the form of its half of an access key (IAM's "Unique identifiers": AKIA, ASIA)."""
    return bool(_KEY_ID.match(user) or _SECRET.match(password))


def _provider(guide: Guide, hints: Mapping[str, str]) -> Provider:
    exchange = KeyExchange(("accessKeyID", "secretAccessKey"), exchange_of_keys(guide.type))
    way = IdentityWay("aws", exchange_of_identity(guide.type))
    return Provider(guide, ways=(PASSWORD, exchange), hints=hints, suspect=_suspect, identity=way)


PROVIDERS = (_provider(_PRIVATE, _HINTS), _provider(_PUBLIC, _PUBLIC_HINTS))
