"""Stripe's signatures: the HMAC of a time and the body."""

import json
from dataclasses import dataclass
from typing import Literal

from gateway.scopes.http.webhooks.scheme import (
    FORBIDDEN,
    Scheme,
    Secrets,
    SignedRequest,
    check_signature,
    check_time,
    checked_secrets,
    digests,
    from_hex,
)
from protocols.errors import RemoteProtocolError


@dataclass(frozen=True, kw_only=True)
class Stripe(Scheme):
    """Signed as Stripe does: `Stripe-Signature`. The event's `id`, in the body, is what a repetition has as well."""

    scheme: Literal["stripe"] = "stripe"
    secret: Secrets
    """The endpoint's secret, `whsec_` and more; a list of them while they rotate."""

    def __post_init__(self) -> None:
        """Raises ValueError without a secret."""
        checked_secrets(self.secret)

    def verify(self, request: SignedRequest) -> str:
        pairs = [part.strip().partition("=") for part in request.field("Stripe-Signature").split(",")]
        time = next((value for name, _, value in pairs if name == "t"), "")
        given = [from_hex(value) for name, _, value in pairs if name == "v1"]
        check_time(time, request.now)
        check_signature(digests(self.secret, "sha256", time.encode(), b".", request.body), given)
        return _event_id(request.body)


def _event_id(body: bytes) -> str:
    """A repetition has the same ``id``, and not always the same bytes: ``pending_webhooks`` counts down."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(found := event.get("id"), str) or not found:
        raise RemoteProtocolError("its body is no event of Stripe's: it has no id", answer=FORBIDDEN)
    return found
