"""Reads JSON as RFC 8259 has it."""

import json
from typing import Any, NoReturn


def parsed(text: str | bytes) -> Any:
    """Return the content of ``text``. Raises ValueError, and RecursionError for one that is nested too deeply."""
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    """Reject NaN and Infinity: Python reads them, but RFC 8259 has no such numbers and databases cannot store them."""
    raise ValueError(name)
