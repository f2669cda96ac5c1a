"""The plain form that most senders have: a header with the HMAC of the body."""

import base64
from dataclasses import dataclass
from typing import Literal

from gateway.scopes.http.token import TOKEN
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
class HMACHeader(Scheme):
    """Signed by a header with the HMAC of the body. No time is signed: see `identity` for what a replay meets."""

    scheme: Literal["hmac"] = "hmac"
    header: str
    """The header with the signature: `X-Shopify-Hmac-Sha256`."""
    secret: Secrets
    """The key of the HMAC; a list of them while they rotate."""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    """The hash function."""
    encoding: Literal["hex", "base64"] = "hex"
    """How the signature is written."""
    prefix: str = ""
    """What stands before the signature: `sha256=`."""

    def __post_init__(self) -> None:
        """Raises ValueError without a secret, and for a header that cannot be one."""
        checked_secrets(self.secret)
        if not TOKEN.fullmatch(self.header):
            raise ValueError(f"{self.header!r} is not the name of a header")

    def verify(self, request: SignedRequest) -> str:
        given = request.field(self.header).removeprefix(self.prefix)
        decoded = from_hex(given) if self.encoding == "hex" else _from_base64(given)
        check_signature(digests(self.secret, self.algorithm, request.body), [decoded])
        return ""


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
