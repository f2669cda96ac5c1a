"""What a daemon does when it is asked by its control socket. Each row of the table is one ``do``."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from gateway.control.server import BadRequest, Command, Request
from gateway.delivery.service import deliveries

Answers = AsyncGenerator[Mapping[str, Any], None]


async def ring(request: Request) -> Answers:
    """Send what another process has put into the store now, and not at the next look."""
    try:
        deliveries.get().outgoing.notify()
    except LookupError as error:
        raise BadRequest("this gateway has no store") from error
    yield {"rung": True}


COMMANDS: Mapping[str, Command] = {"ring": ring}
