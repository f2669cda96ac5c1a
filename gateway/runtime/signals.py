"""Signals: those that end the daemon are heard while the event loop is blocked, some others are only logged.

Python runs a handler only when its main thread is back in the interpreter, so that the second of two signals may wait
for as long as a consumer blocks that thread. The byte that each signal writes to the wake-up descriptor is there at
once, and a thread of its own reads it.
"""

import contextlib
import itertools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
IGNORED = {
    signal.SIGHUP: "the file is not read again; restart for that",
    signal.SIGUSR1: "the gateway ignores it",
    signal.SIGUSR2: "the gateway ignores it",
}
"""Signals that other daemons reload, reopen or tell their state at. Unless somebody handles them they kill a process at
once, in the midst of its work. SIGQUIT and SIGABRT are left alone: who sends them wants a core dump now."""

Act = Callable[[], object]


def ignore() -> None:
    """Let nothing in ``IGNORED`` kill this process. An application that handles one itself, from now on, has it."""
    for number in IGNORED:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)


def _nothing(number: int, frame: object) -> None:
    """Stands for "not ours": the line is written by the thread that hears of it, never within a handler."""


def listen(stop: Act, force: Act) -> None:
    """Call ``stop`` at the first SIGTERM or SIGINT, and ``force`` at each later one; both from any thread, and perhaps
    more than once. Call this in the main thread while the loop runs: uvloop sets a wake-up descriptor when it begins to
    run."""
    heard, told = socket.socketpair()
    told.settimeout(0.0)
    # Counted twice: an application that calls add_signal_handler on asyncio's loop takes the wake-up descriptor away.
    handler = _counted(stop, force)
    for each in ENDING:
        signal.signal(each, lambda number, frame: handler())
    before = signal.set_wakeup_fd(told.fileno())
    arguments = (heard, told, before, _counted(stop, force))
    threading.Thread(target=_hear, args=arguments, name="signals", daemon=True).start()
    os.register_at_fork(after_in_child=_forget)


def _counted(stop: Act, force: Act) -> Act:
    earlier = itertools.count()  # counts in one step: the second signal may arrive inside the first one's handler
    return lambda: force() if next(earlier) else stop()


def _hear(heard: socket.socket, told: socket.socket, before: int, ending: Act) -> None:
    """Listen until the process ends. ``told`` is held open, and everything is passed on to the loop's own descriptor
    ``before``."""
    while numbers := heard.recv(4096):
        if before != -1:
            with contextlib.suppress(OSError):  # full: then the loop has been woken
                os.write(before, numbers)
        for number in numbers:
            if number in ENDING:
                ending()
            elif number in IGNORED and signal.getsignal(number) is _nothing:
                logger.warning("%s: %s", signal.Signals(number).name, IGNORED[signal.Signals(number)])


def _forget() -> None:
    """A process that a consumer forks has the same descriptors: what ends it would end the daemon."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in IGNORED:
        if signal.getsignal(number) is _nothing:
            signal.signal(number, signal.SIG_DFL)
