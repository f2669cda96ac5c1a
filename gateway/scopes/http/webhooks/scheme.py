"""What a scheme of signatures is: it verifies a request. Pure, but for the clock that it is given."""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.errors import RemoteProtocolError
from protocols.secret import Secret
from protocols.settings_config import SETTINGS_CONFIG

TOLERANCE = 300
"""Seconds that the signed time of a request may differ from this machine's clock: Stripe's, and what the library of
Standard Webhooks has."""
FORBIDDEN = 403
Secrets = Secret | tuple[Secret, ...]
"""One secret, or several while they rotate: a signature by any of them is good."""


@dataclass(frozen=True)
class SignedRequest:
    """As much of a request as its signature is about."""

    headers: Mapping[str, str]
    """By name, in lower case. Of a field that is there twice, the first."""
    body: bytes
    now: float
    """Unix time of this machine's clock."""

    def field(self, name: str) -> str:
        """Return the header field ``name``. Raises RemoteProtocolError if there is none."""
        if not (value := self.headers.get(name.lower(), "").strip()):
            raise RemoteProtocolError(f"it has no {name} header", answer=FORBIDDEN)
        return value


@dataclass(frozen=True, kw_only=True)
class Scheme(ABC):
    """How a sender signs its requests. A subclass has the settings, and the literal ``scheme`` that names it."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    ids: ClassVar[Sequence[str]] = ("webhook-id", "idempotency-key")
    """Header fields that name a request, the first that is there, where the signature covers no id."""

    @abstractmethod
    def verify(self, request: SignedRequest) -> str:
        """Return the id that the signature covers, empty if it covers none. Raises RemoteProtocolError, with a sentence
        without secrets, if the request is not the sender's or is too old."""


def checked_secrets(secrets: Secrets) -> tuple[Secret, ...]:
    """Return ``secrets`` as a tuple. Raises ValueError if there is none, or if one is empty."""
    found = (secrets,) if isinstance(secrets, Secret) else secrets
    if not found or not all(found):
        raise ValueError("secret is empty: without it anybody could send; scheme: none allows that")
    return found


def check_time(written: str, now: float) -> None:
    """Raise RemoteProtocolError if the signed time ``written`` (Unix seconds) is too far from ``now``."""
    if not (written.isascii() and written.isdecimal() and len(written) <= 12):
        raise RemoteProtocolError("its timestamp is not in Unix seconds", answer=FORBIDDEN)
    if abs(skew := int(written) - now) > TOLERANCE:
        where = "ahead of" if skew > 0 else "behind"
        said = f"its timestamp is {abs(skew):.0f} s {where} this machine's clock, and {TOLERANCE} s are allowed"
        raise RemoteProtocolError(f"{said}: a replay, or one of the clocks is wrong", answer=FORBIDDEN)


def digests(secrets: Secrets, algorithm: str, *parts: bytes) -> Iterator[bytes]:
    """Yield the HMAC of ``parts``, one behind the other, by each secret."""
    for secret in checked_secrets(secrets):
        made = hmac.new(secret.reveal().encode(), digestmod=algorithm)
        for part in parts:
            made.update(part)
        yield made.digest()


def check_signature(made: Iterable[bytes], given: Sequence[bytes]) -> None:
    """Raise RemoteProtocolError if none of ``given`` is one of ``made``, compared in constant time."""
    if not any(hmac.compare_digest(ours, theirs) for ours in made for theirs in given):
        raise no_match()


def no_match() -> RemoteProtocolError:
    said = "its signature does not match: another secret, or another body than was signed"
    return RemoteProtocolError(said, answer=FORBIDDEN)


def from_hex(text: str) -> bytes:
    """Return the bytes; none for what is not in hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
