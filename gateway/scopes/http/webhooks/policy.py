"""The policy of a route that takes webhooks."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from gateway.delivery.policy import Policy
from gateway.scopes.http.token import TOKEN
from gateway.scopes.http.webhooks.github import GitHub
from gateway.scopes.http.webhooks.hmac_header import HMACHeader
from gateway.scopes.http.webhooks.standard import StandardWebhooks
from gateway.scopes.http.webhooks.stripe import Stripe
from gateway.scopes.http.webhooks.unsigned import Unsigned
from gateway.scopes.routes import with_policy
from protocols.setting_forms import ByKey
from protocols.units import Length

WEBHOOKS = ("verify", "identity", "max_body")
"""The keys of a route for webhooks, beside those of every policy."""
MOST = 25 * 1024 * 1024
"""Bytes of a body, where the route says nothing: GitHub sends as many."""
BODY = "body"
"""The identity that is a request's whole body."""


@dataclass(frozen=True, kw_only=True)
class WebhookPolicy(Policy):
    """What happens to a request that is stored: how it is verified, and how a repetition is recognized."""

    __pydantic_config__: ClassVar[Any] = with_policy(Policy)

    verify: Annotated[StandardWebhooks | GitHub | Stripe | HMACHeader | Unsigned, ByKey("scheme")] | None = None
    """With `inbox: true`: how the sender signs its requests. `{scheme: none}` takes them unsigned."""
    identity: str | None = None
    """With `inbox: true`: the header that is the same for each repetition of a request, which has to have it; or
    `body`, if equal bodies are repetitions. Empty: what the sender signs, else `webhook-id` or `Idempotency-Key`."""
    max_body: Length | None = None
    """With `inbox: true`: a longer body is refused with 413. Empty: 25 MiB."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError if they do not go together."""
        super().__post_init__()
        for name in WEBHOOKS:
            if getattr(self, name) is not None and not self.inbox:
                raise ValueError(f"{name} needs inbox: true: it is about requests that are stored")
        if self.inbox and self.verify is None:
            raise ValueError(
                "inbox: true needs verify, which checks who sends the requests, such as verify: {scheme: "
                "github, secret: ...}; {scheme: none} takes what anybody sends"
            )
        if self.identity is not None and not TOKEN.fullmatch(self.identity):
            raise ValueError(f"identity: {self.identity!r} is neither the name of a header nor body")

    @property
    def longest(self) -> int:
        """Bytes of a body."""
        return self.max_body or MOST
