"""Standard Webhooks (standardwebhooks.com), by the library of its authors. Svix's names of the headers do as well."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gateway.scopes.http.webhooks.scheme import Scheme, Secrets, SignedRequest, check_time, checked_secrets, no_match
from protocols.lazy_names import imported

if TYPE_CHECKING:
    from standardwebhooks import Webhook

_FIELDS = ("id", "timestamp", "signature")


@dataclass(frozen=True, kw_only=True)
class StandardWebhooks(Scheme):
    """Signed as Standard Webhooks says: `webhook-id`, `webhook-timestamp` and `webhook-signature`."""

    scheme: Literal["standard-webhooks"] = "standard-webhooks"
    secret: Secrets
    """The secret, `whsec_` and base64; a list of them while they rotate."""

    def __post_init__(self) -> None:
        """Raises ValueError for a secret that is not one."""
        for secret in checked_secrets(self.secret):
            _check(secret.reveal())

    @cached_property
    def _webhooks(self) -> "list[Webhook]":
        made = imported("standardwebhooks:Webhook")  # only where a request comes: few files have such a route
        return [made(secret.reveal()) for secret in checked_secrets(self.secret)]

    def verify(self, request: SignedRequest) -> str:
        prefix = "svix" if "svix-id" in request.headers and "webhook-id" not in request.headers else "webhook"
        headers = {f"webhook-{name}": request.field(f"{prefix}-{name}") for name in _FIELDS}
        check_time(headers["webhook-timestamp"], request.now)
        if not any(_is_signed(webhook, request.body, headers) for webhook in self._webhooks):
            raise no_match()
        return headers["webhook-id"]


def _is_signed(webhook: "Webhook", body: bytes, headers: Mapping[str, str]) -> bool:
    try:
        webhook.verify(body, dict(headers), json_parse=False)
    except (imported("standardwebhooks:WebhookVerificationError"), ValueError):  # ValueError: no UTF-8, no base64
        return False
    return True


def _check(secret: str) -> None:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_").rstrip("=") + "==", validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("secret is not a secret of Standard Webhooks: write base64, with or without whsec_ before it")
