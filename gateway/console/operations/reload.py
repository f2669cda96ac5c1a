"""Operations that let the gateway take up what has changed."""

import os
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, NotRequired, TypedDict

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


class Reloading(TypedDict):
    """What a reload does, and then what came of it."""

    process: int
    """The number of the process."""
    reading: NotRequired[str]
    """In the first answer: the name of the file that is read."""
    done: NotRequired[Mapping[str, Any]]
    """In the last one: `result` (`reloaded`, `valid`, `unchanged`, `mistakes` or `failed`), `generation`, which is the
    number of the one that serves now, `changes`, `notes`, `mistakes` with their places, and `told`, the sentences for a
    person who has to mend the file."""


@operation("reload", "POST", "/api/reload")
async def reload(
    here: Here,
    *,
    check: Annotated[bool, "Only read and check the file, and tell what would change."] = False,
    force: Annotated[bool, "Build it anew even if the file says what it said."] = False,
) -> AsyncGenerator[Reloading, None]:
    """Read the file again, and let what it says take over. A mistake changes nothing."""
    if here.generations is None or not here.generations.can_reload:
        raise BadRequest("this gateway has no file that could be read again")
    yield {"process": os.getpid(), "reading": here.gateway.file}
    done = await here.generations.reload(check=check, force=force)
    yield {"process": os.getpid(), "done": done.facts()}
