"""The bounds within which a mail is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is over a bound is not read, and ``defects`` says so."""

    parts: int = 1000
    """Parts of a message, those of attached messages included."""
    depth: int = 50
    """Parts inside parts."""
    opened: int = 64 * 1024 * 1024
    """Decoded bytes of parts that are read as messages or archives themselves, all together."""
