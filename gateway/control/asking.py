"""Asks a daemon by its control socket, on an event loop. :mod:`gateway.control.client` is for commands, which have
none."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Literal

from protocols.net.unix_path import address

ASKED_BY = "asked_by"
"""The name in a request that says who asks. No operation has a parameter of this name."""
LONGEST = 64 * 1024 * 1024
"""Bytes of an answer."""


class Refused(Exception):
    """The daemon says in one sentence why it has no answer."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer["error"])
        self.status: int = answer.get("status", 0)
        """As over HTTP."""


async def answers(
    path: Path, request: Mapping[str, Any], by: Literal["worker", "parent"]
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the answers to ``request`` of the daemon whose socket is at ``path``, until it ends. ``by`` says who asks:
    each of these has places of its own there, beside those of commands. Raises Refused, OSError, or ValueError for
    something that is no answer."""
    reader, writer = await asyncio.open_unix_connection(address(path), limit=LONGEST)
    try:
        writer.write(json.dumps({**request, ASKED_BY: by}).encode() + b"\n")
        while line := await reader.readline():
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError(f"not a JSON object: {line[:60]!r}")
            if "error" in answer:
                raise Refused(answer)
            yield answer
    finally:
        writer.transport.abort()
