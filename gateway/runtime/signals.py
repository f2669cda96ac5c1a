"""Handles signals: those that end the daemon, even while the event loop is blocked, those at which it does something,
and some that are only logged.

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
from collections.abc import Callable, Mapping
from types import MappingProxyType

logger = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
IGNORED = {
    signal.SIGHUP: "the gateway ignores it",
    signal.SIGUSR1: "the gateway ignores it",
    signal.SIGUSR2: "the gateway ignores it",
}
"""Signals at which other daemons reload, reopen files or report their state. Without a handler they would kill this
process in the middle of its work. SIGQUIT and SIGABRT keep their effect: they ask for a core dump."""

_wakeup: list[socket.socket] = []
"""Where the wake-up descriptor writes, once this process listens."""

Act = Callable[[], object]
NOTHING: Mapping[int, Act] = MappingProxyType({})


def ignore() -> None:
    """Let no signal in ``IGNORED`` kill this process. An application may still set a handler of its own for one."""
    for number in IGNORED:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _nothing)
            signal.siginterrupt(number, False)


def _nothing(number: int, frame: object) -> None:
    """Do nothing. The thread that reads the wake-up descriptor logs the signal: a handler must not write."""


def listen(stop: Act, force: Act, acts: Mapping[int, Act] = NOTHING) -> None:
    """Call ``stop`` at the first SIGTERM or SIGINT, and ``force`` at each later one; both from any thread, and perhaps
    more than once. Call one of ``acts`` at each of these signals that would be ignored, unless the application handles
    it. Call this in the main thread while the loop runs: uvloop sets a wake-up descriptor when it begins to run."""
    reading, writing = socket.socketpair()
    writing.settimeout(0.0)
    # Counted twice: an application that calls add_signal_handler on asyncio's loop takes the wake-up descriptor away.
    handler = _counted(stop, force)
    for each in ENDING:
        signal.signal(each, lambda number, frame: handler())
    _wakeup[:] = [writing]
    before = signal.set_wakeup_fd(writing.fileno())
    arguments = (reading, writing, before, _counted(stop, force), acts)
    threading.Thread(target=_read_signals, args=arguments, name="signals", daemon=True).start()
    os.register_at_fork(after_in_child=_restore_defaults)


def are_heard() -> bool:
    """Whether this process handles its signals: then a KeyboardInterrupt is not that of a terminal."""
    return bool(_wakeup)


def hear_again() -> None:
    """Call this when the loop runs again after a stop: uvloop has set its own wake-up descriptor."""
    signal.set_wakeup_fd(_wakeup[0].fileno())


def _counted(stop: Act, force: Act) -> Act:
    earlier = itertools.count()  # counts in one step: the second signal may arrive inside the first one's handler
    return lambda: force() if next(earlier) else stop()


def _read_signals(
    reading: socket.socket, writing: socket.socket, before: int, ending: Act, acts: Mapping[int, Act]
) -> None:
    """Listen until the process ends. ``writing`` is held open, and everything is passed on to the loop's own descriptor
    ``before``."""
    while numbers := reading.recv(4096):
        if before != -1:
            with contextlib.suppress(OSError):  # full: then the loop has been woken
                os.write(before, numbers)
        for number in numbers:
            if number in ENDING:
                ending()
            elif number in IGNORED and signal.getsignal(number) is _nothing:
                act = acts.get(number)
                if act is not None:
                    act()
                else:
                    logger.warning("%s: %s", signal.Signals(number).name, IGNORED[signal.Signals(number)])


def _restore_defaults() -> None:
    """Restore the defaults in a process that a consumer forks. It has the same wake-up descriptor: a signal that ends
    it would end the daemon."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in IGNORED:
        if signal.getsignal(number) is _nothing:
            signal.signal(number, signal.SIG_DFL)
