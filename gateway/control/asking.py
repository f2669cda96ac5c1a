"""Asks a daemon by its control socket, on an event loop. :mod:`gateway.control.client` is for commands, which have
none."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from protocols.net.unix_path import address

LONGEST = 64 * 1024 * 1024
"""Bytes of an answer."""


async def answers(path: Path, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answers to ``request`` of the daemon whose socket is at ``path``, until it ends or says why it has
    none. Raises OSError, or ValueError for something that is no answer."""
    reader, writer = await asyncio.open_unix_connection(address(path), limit=LONGEST)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        while line := await reader.readline():
            answer = json.loads(line)
            if not isinstance(answer, dict) or "error" in answer:
                return
            yield answer
    finally:
        writer.transport.abort()
