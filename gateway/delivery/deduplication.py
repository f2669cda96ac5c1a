"""Keys that identify a repeated message. Each scope type makes its own; docs/identity.md has them in words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a message from all others."""

    key: str
    """A text that is the same for every delivery of one message to one group of recipients. Empty: the message has no
    identity, and each delivery is a message of its own."""
    failed_as: str
    """A text that is the same for messages that look the same. After a failure, and only then, the next such delivery
    counts as its repetition, so that attempts can be counted out; empty where ``key`` does for that."""
    window: float
    """Seconds for which it is recognized, from its last attempt on."""


ALWAYS_NEW = Identity("", "", DAY)
"""Each delivery is a message of its own."""


def digest(kind: str, parts: Sequence[Any]) -> str:
    """A key of fixed length for ``parts``, which tell a message from others of its ``kind``."""
    return f"{kind}:{hashlib.sha256(repr(parts).encode(errors='surrogatepass')).hexdigest()}"
