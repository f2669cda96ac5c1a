"""Warns of a plain ASGI application that leaves its peer waiting: it waits for the next event and has not answered the
first. Consumers have a warning of their own, which names the method; see :mod:`gateway.consumers.unanswered`."""

import asyncio
import logging
from collections.abc import Iterator
from types import FrameType
from typing import Any

from gateway.consumers import unanswered
from gateway.frames import is_own, line_of, short
from protocols.app_run import AppRun
from protocols.asgi import describe

logger = logging.getLogger(__name__)


def tell_waiting(run: AppRun, task: "asyncio.Task[Any]") -> asyncio.TimerHandle | None:
    """Log one line unless the application of ``run``, which waits for an event in ``task``, answers a little later, or
    waits no more: then the timer that this returns is cancelled."""
    scope: Any = run.scope
    if "authentication_method" in (scope.get("properties") or ()):  # MQTT 5, 4.12: it may have asked for a step
        return None
    return asyncio.get_running_loop().call_later(unanswered.PATIENCE, _tell, run, task)


def _tell(run: AppRun, task: "asyncio.Task[Any]") -> None:
    if not run.awaits_answer:
        return
    frames = list(_frames(task.get_coro()))
    own = [frame for frame in frames if is_own(frame.f_code.co_filename)]
    if not own or any(_serves(frame) for frame in frames):
        return
    place = f"{short(own[-1].f_code.co_filename)}:{line_of(own[-1].f_code, own[-1].f_lasti)}"
    peer = "the start" if run.scope["type"] == "lifespan" else "its peer"
    said = "%s: the application waits at %s and has not answered; %s is still waiting"
    logger.warning(said, describe(run.scope), place, peer, extra={"scope": run.scope})


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it awaits, the innermost last."""
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        yield frame
        awaited = awaited.cr_await


def _serves(frame: FrameType) -> bool:
    """Whether a consumer of ours waits there for its next event."""
    return frame.f_code.co_name == "_serve" and frame.f_globals["__name__"].startswith(f"{__package__}.")
