"""Asks a worker by its control socket. The parent does, for all who want to know something of every worker."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from gateway.control.asking import Refused, answers

PATIENCE = 4.0
"""Seconds for an answer: Prometheus waits for 10."""


async def ask(control: str, request: Mapping[str, Any], within: float = PATIENCE) -> dict[str, Any] | None:
    """Return the first answer; None if there is none ``within`` so many seconds, or the worker says why it has
    none."""
    if not control:
        return None
    try:
        async with asyncio.timeout(within), aclosing(answers(Path(control), request, "parent")) as found:
            return await anext(found, None)
    except (Refused, OSError, TimeoutError, ValueError):
        return None
