"""Google Artifact Registry: an identity -> an access token, the password of the user oauth2accesstoken, for an hour.

A credential configuration of Google may name a file, a URL or a program to take its subject token from. None is ever taken
from a Registry or its Secret: their author could read the operator's disk. A tenant names a pool's provider and a
service account, and the subject token is Kubernetes' own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import ExchangeFailed, Issued, Tools, load_extra, run_blocking
from pullgate.providers.provider import Subject
from pullgate.resources.registry import WorkloadIdentity

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
"""Reading Cloud Storage is the scope that a pull needs: Artifact Registry's documentation, "Deploying to Compute Engine"
(Reader, and the read-only access scope for Cloud Storage). GKE's metadata server may give a token of wider scope than it
was asked for."""
KIND: Final = "GoogleAccessToken"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_STS: Final = "https://sts.googleapis.com/v1/token"
_IMPERSONATE: Final = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateAccessToken"
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class GoogleIdentity:
    """A ServiceAccount that a workload identity pool trusts, or the process' own; perhaps acting as another account."""

    namespace: str
    service_account: str | None
    """A ServiceAccount of Kubernetes."""
    provider: str | None
    """projects/…/providers/… of the pool."""
    target: str | None
    """The service account of Google to act as."""

    @property
    def source(self) -> str:
        """See Exchange."""
        return self.target or (f"pool {self.provider}" if self.provider else "the operator's own Google identity")

    @property
    def kind(self) -> str:
        """See Exchange."""
        return KIND

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""
        make = self._own
        if self.service_account is not None:
            audience = f"https://iam.googleapis.com/{self.provider}"
            make = self._pooled(await tools.service_account_token(self.namespace, self.service_account, audience))
        return await run_blocking(lambda: self._explained(lambda: _issue(make())))

    def _pooled(self, token: str) -> Callable[[], Any]:
        def make() -> Any:
            room = load_extra("google.auth.identity_pool", "gcp")
            impersonate = _IMPERSONATE.format(self.target) if self.target is not None else None
            return room.Credentials(
                audience=f"//iam.googleapis.com/{self.provider}",
                subject_token_type=_JWT,
                token_url=_STS,
                subject_token_supplier=_supplier(token),
                service_account_impersonation_url=impersonate,
                scopes=[SCOPE],
            )

        return make

    def _own(self) -> Any:
        credentials, _ = load_extra("google.auth", "gcp").default(scopes=[SCOPE])
        if self.target is None:
            return credentials
        room = load_extra("google.auth.impersonated_credentials", "gcp")
        return room.Credentials(credentials, target_principal=self.target, target_scopes=[SCOPE], lifetime=3600)

    def _explained(self, call: Callable[[], Issued]) -> Issued:
        """Run `call`; an error of google-auth becomes an ExchangeFailed without its text."""
        errors = load_extra("google.auth.exceptions", "gcp")
        try:
            return call()
        except errors.DefaultCredentialsError:
            failure = ExchangeFailed(
                "IdentityMissing",
                "there is no Google identity here",
                "run the operator with Workload Identity Federation for GKE, or name a serviceAccountName",
            )
        except (errors.RefreshError, errors.OAuthError) as error:
            failure = self._refusal(" ".join(str(part) for part in error.args))
        except errors.TransportError as error:
            words = f"Google cannot be reached ({type(error).__name__})"
            failure = ExchangeFailed("ExchangeUnreachable", words, "check egress to googleapis.com; it is tried again")
        except errors.GoogleAuthError as error:
            words = f"Google could not be asked ({type(error).__name__})"
            failure = ExchangeFailed("ExchangeError", words, "it is tried again")
        raise failure

    def _refusal(self, text: str) -> ExchangeFailed:
        if "getAccessToken" in text or "PERMISSION_DENIED" in text or "impersonated" in text.lower():
            return ExchangeFailed(
                "PermissionMissing",
                f"this identity may not act as {self.target}",
                "grant it roles/iam.workloadIdentityUser (a pool) or roles/iam.serviceAccountTokenCreator on that account",
            )
        if "invalid_target" in text or "audience" in text:
            return ExchangeFailed(
                "IdentityRejected",
                "Google knows no such pool, provider or audience",
                "check gcp.provider, and the audiences that the provider allows",
            )
        if "expired" in text.lower() or "not yet valid" in text:
            return ExchangeFailed(
                "ClockWrong", "Google says that the ServiceAccount's token is of another time", "set the clock"
            )
        if "invalid_grant" in text or "unauthorized" in text.lower() or "issuer" in text:
            return ExchangeFailed(
                "IdentityRejected",
                "Google does not trust this ServiceAccount (invalid_grant)",
                "check the provider's issuer and attribute condition",
            )
        if "metadata" in text.lower():
            return ExchangeFailed(
                "IdentityMissing",
                "the metadata server gives no token",
                "bind the operator's ServiceAccount to a service account of Google, or name a serviceAccountName",
            )
        return ExchangeFailed(
            "ExchangeError", "Google gave no token", "look at the audit log of IAM; it is tried again"
        )


def exchange_of_identity(identity: WorkloadIdentity, subject: Subject) -> GoogleIdentity:
    """`IdentityWay.make`."""
    gcp = identity.gcp
    if gcp is None:
        raise TypeError("another cloud")
    return GoogleIdentity(subject.namespace, identity.service_account_name, gcp.provider, gcp.service_account)


def _supplier(token: str) -> Any:
    room = load_extra("google.auth.identity_pool", "gcp")

    class OfKubernetes(room.SubjectTokenSupplier):  # type: ignore[misc, name-defined]
        def get_subject_token(self, context: Any, request: Any) -> str:
            return token

    return OfKubernetes()


def _issue(credentials: Any) -> Issued:
    base = load_extra("google.auth.transport.requests", "gcp").Request()

    def request(
        url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **more: Any
    ) -> Any:
        return base(url, method, body, headers, timeout=_SECONDS, **more)

    credentials.refresh(request)
    end: datetime | None = credentials.expiry
    return Issued(
        Credentials("oauth2accesstoken", str(credentials.token), end.replace(tzinfo=UTC) if end is not None else None),
        KIND,
    )
