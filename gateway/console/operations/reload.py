"""Operations that let the gateway take up what has changed."""

from typing import Annotated, TypedDict

from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.control.server import BadRequest
from protocols.units import Between

LONGEST = 3600


class Replaced(TypedDict):
    """The code is as it is now."""

    process: int
    """The number of the process that serves."""


@operation("reload_code", "POST", "/api/reload/code")
async def reload_code(
    here: Here,
    *,
    within: Annotated[int, Between(1, LONGEST), "Seconds for the new process to be ready."] = 120,
) -> Replaced:
    """Start a new process with the code as it is now, which takes over. It goes on if the client leaves. If the new
    process does not serve, the error says why, and the old one keeps running."""
    if here.replace is None:
        raise BadRequest("there is no process that could be replaced")
    return {"process": await here.replace(within)}
