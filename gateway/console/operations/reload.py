"""Operations that let the gateway take up what has changed."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Annotated, Any, NotRequired, TypedDict

from gateway.console.here import Generations, Here
from gateway.console.operation import operation
from gateway.control.server import BadRequest, Unavailable
from protocols.units import Between

LONGEST = 3600
RATE = 500
"""Connections that end in a second. Each of them comes again, with a TLS handshake and a login."""
EACH = 1.0
"""Seconds between two answers that say how far it is."""


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
        raise Unavailable("there is no process that could be replaced")
    return {"process": await here.replace(within)}


class Reloading(TypedDict):
    """What a reload does, and then what came of it."""

    process: int
    """The number of the process."""
    reading: NotRequired[str]
    """In the first answer: the name of the file that is read."""
    done: NotRequired[Mapping[str, Any]]
    """What came of it: `result` (`reloaded`, `valid`, `unchanged`, `mistakes` or `failed`), `generation`, which is the
    number of the one that serves now, `changes`, `notes`, `mistakes` with their places, and `told`, the sentences for a
    person who has to mend the file. This is the last answer, unless connections are to reconnect."""
    reconnecting: NotRequired["Reconnected"]
    """With `reconnect`, in the answers after `done`, one a second. In the last one `asked` is
    `total`. There are none if the reload has failed."""


class Reconnected(TypedDict):
    """How far it is."""

    asked: int
    """Connections that have been told to connect again."""
    total: int
    """Connections that ran an earlier generation."""


@operation("reload", "POST", "/api/reload")
async def reload(
    here: Here,
    *,
    check: Annotated[bool, "Only read and check the file, and tell what would change."] = False,
    force: Annotated[bool, "Build it again even if the file has not changed."] = False,
    reconnect: Annotated[bool, "Then end the connections that began with an earlier version of the file."] = False,
    rate: Annotated[int, Between(1, 1_000_000), "With `reconnect`: how many connections a second at most."] = RATE,
) -> AsyncGenerator[Reloading, None]:
    """Read the file again, and let what it says take over. A mistake changes nothing.

    With `reconnect`, also if nothing has changed, each peer is told as its protocol says that it may connect again:
    MQTT 5 gets 0x98, a WebSocket 1012, a mail server 421 between two messages; HTTP has `connection: close` in its
    next answer. What has arrived is handled first."""
    if here.generations is None or not here.generations.can_reload:
        raise Unavailable("this gateway has no file that could be read again")
    if check and reconnect:
        raise BadRequest("check changes nothing, so that it goes without reconnect")
    yield {"process": os.getpid(), "reading": here.gateway.file}
    done = await here.generations.reload(check=check, force=force)
    yield {"process": os.getpid(), "done": done.facts()}
    if reconnect and done.result in ("reloaded", "unchanged"):
        async for progress in _reconnect(here.generations, rate):
            yield {"process": os.getpid(), "reconnecting": progress}


async def _reconnect(generations: Generations, rate: int) -> AsyncGenerator[Reconnected, None]:
    """Yield how far it is: each second, and at the end."""
    progress: Reconnected = {"asked": 0, "total": 0}

    def note(asked: int, total: int) -> None:
        progress["asked"], progress["total"] = asked, total

    reconnecting = asyncio.ensure_future(generations.reconnect(rate, note))
    while not (await asyncio.wait({reconnecting}, timeout=EACH))[0]:
        if progress["asked"] < progress["total"]:
            yield progress.copy()
    await reconnecting
    yield progress
