"""Senders that sign nothing."""

from dataclasses import dataclass
from typing import Literal

from gateway.scopes.http.webhooks.scheme import Scheme, SignedRequest


@dataclass(frozen=True, kw_only=True)
class Unsigned(Scheme):
    """Not signed: every request that reaches the route is stored."""

    scheme: Literal["none"] = "none"

    def verify(self, request: SignedRequest) -> str:
        return ""
