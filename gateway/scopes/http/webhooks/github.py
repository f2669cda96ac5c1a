"""GitHub's signatures: the HMAC of the body. Gitea, Forgejo and others send the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from gateway.scopes.http.webhooks.scheme import (
    Scheme,
    Secrets,
    SignedRequest,
    check_signature,
    checked_secrets,
    digests,
    from_hex,
)


@dataclass(frozen=True, kw_only=True)
class GitHub(Scheme):
    """Signed as GitHub does: `X-Hub-Signature-256`. The id, `X-GitHub-Delivery`, is not signed, nor is a time."""

    ids: ClassVar[Sequence[str]] = ("x-github-delivery",)

    scheme: Literal["github"] = "github"
    secret: Secrets
    """The webhook's secret; a list of them while they rotate."""

    def __post_init__(self) -> None:
        """Raises ValueError without a secret."""
        checked_secrets(self.secret)

    def verify(self, request: SignedRequest) -> str:
        given = request.field("X-Hub-Signature-256").removeprefix("sha256=")
        check_signature(digests(self.secret, "sha256", request.body), [from_hex(given)])
        return ""
