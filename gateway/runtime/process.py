"""Runs the event loop of a daemon's process, and ends the process."""

import asyncio
import contextlib
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from gateway.exit_codes import FORCED
from gateway.garbage_collection import settle
from gateway.runtime import signals

logger = logging.getLogger(__name__)

DESCRIPTORS = 65536
"""File descriptors that the process asks for, if the hard limit allows them."""
FORCED_END = 1.0
"""The longest time that a forced end takes, in seconds."""

_forced = threading.Lock()


def run(main: Coroutine[Any, Any, int]) -> NoReturn:
    """Run ``main`` on uvloop where that is installed, and end the process with the exit code that it returns.

    The loop is not closed: that waits for every thread of ``asyncio.to_thread``, and one may hang.
    """
    _raise_descriptor_limit()
    settle()
    runner = asyncio.Runner(loop_factory=_loop_factory())
    runner.get_loop().set_exception_handler(_log_crash)
    leave(_result(runner, main))


def _result(runner: asyncio.Runner, main: Coroutine[Any, Any, int]) -> int:
    """Run ``main``. A task of a handler that raises SystemExit or KeyboardInterrupt stops the loop: run it on."""
    loop, tasks = runner.get_loop(), list[asyncio.Task[int]]()

    async def noted() -> int:
        tasks.extend(asyncio.all_tasks())
        return await main

    try:
        return runner.run(noted())
    except (SystemExit, KeyboardInterrupt) as error:
        stopped: BaseException = error
    while signals.are_heard() and not tasks[0].done():
        loop.call_soon(_go_on, stopped)
        try:
            return loop.run_until_complete(tasks[0])
        except (SystemExit, KeyboardInterrupt) as error:
            stopped = error
    raise stopped


def _go_on(stopped: BaseException) -> None:
    signals.hear_again()
    logger.error("a task has raised %s; the gateway goes on", type(stopped).__name__, exc_info=stopped)


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads: a sync handler that hangs cannot be cancelled."""
    _flush()
    os._exit(code)


def force(cut_off: Callable[[], str]) -> None:
    """End the process now, from any thread, and log what is ``cut_off``. It ends within ``FORCED_END``, even if the
    loop's thread holds a lock of the log. Only the first call does this."""
    if _forced.acquire(blocking=False):
        writer = threading.Thread(target=_log_cut_off, args=(cut_off,), name="forced end", daemon=True)
        writer.start()
        writer.join(FORCED_END)
        os._exit(FORCED)


async def cancel_rest() -> None:
    """Cancel the tasks that the application started and left running. Wait a second at most: they may not end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=1.0)


def _log_cut_off(cut_off: Callable[[], str]) -> None:
    logger.warning("stopped now: %s cut off", cut_off() or "nothing")
    _flush()


def _log_crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log a crash that nothing awaits: in a callback, or in a task that was thrown away."""
    logger.error("%s", context.get("message", "a callback crashed"), exc_info=context.get("exception"))


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()


def _raise_descriptor_limit() -> None:
    """Ask for more descriptors: each connection needs one. The usual soft limit, 1,024, is for select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system whose own limit is below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
