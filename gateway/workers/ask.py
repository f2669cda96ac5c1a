"""Asks a worker by its control socket. The parent does, for all who want to know something of every worker."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocols.net.unix_path import address

PATIENCE = 4.0
"""Seconds for an answer: Prometheus waits for 10."""
LONGEST = 64 * 1024 * 1024
"""Bytes of an answer."""


async def ask(control: str, request: Mapping[str, Any], within: float = PATIENCE) -> dict[str, Any] | None:
    """Return the first answer; None if there is none ``within`` so many seconds, or the worker says why it has
    none."""
    if not control:
        return None
    try:
        async with asyncio.timeout(within):
            return await _asked(control, request)
    except (OSError, TimeoutError, ValueError):
        return None


async def _asked(control: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
    reader, writer = await asyncio.open_unix_connection(address(Path(control)), limit=LONGEST)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        answer = json.loads(await reader.readline())
    finally:
        writer.transport.abort()
    return answer if isinstance(answer, dict) and "error" not in answer else None
