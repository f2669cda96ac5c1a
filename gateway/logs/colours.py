"""Colours, for a terminal only."""

import os
from typing import TextIO

DIM, RED, GREEN, YELLOW = "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_PLAIN = "\x1b[0m"


def has_colours(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that shows colours, and its user wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if colour and text else text
