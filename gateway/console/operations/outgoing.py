"""Operations on what handlers send."""

from typing import TypedDict

from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.control.server import BadRequest
from gateway.delivery.service import deliveries


class Rung(TypedDict):
    """The outbox looks."""

    rung: bool
    """True."""


@operation("ring", "POST", "/api/outgoing/ring")
async def ring(here: Here) -> Rung:
    """Send what another process has put into the store now, and not at the next look."""
    try:
        here.service(deliveries).outgoing.notify()
    except LookupError as error:
        raise BadRequest("this gateway has no store") from error
    return {"rung": True}
