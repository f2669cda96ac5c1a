"""Tells systemd the state of the daemon (sd_notify, Type=notify)."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence

PROCESS = ("SYSTEMD_EXEC_PID", "WATCHDOG_PID", "LISTEN_PID")
"""Variables that have the number of the process that systemd has started, and that they are for."""


def notify(state: str, sockets: Sequence[socket.socket] = ()) -> None:
    """Send a state such as ``READY=1`` to the supervisor that started us, if it asked for that. ``sockets`` go with
    it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        socket.send_fds(channel, [state.encode()], [each.fileno() for each in sockets])


@contextlib.contextmanager
def reloading() -> Iterator[None]:
    """Tell the supervisor that the daemon reads its file again, and when it is done. ``Type=notify-reload`` compares
    the time with that of its own request."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
    try:
        yield
    finally:
        notify("READY=1")


async def keep_alive() -> None:
    """Send ``WATCHDOG=1`` from the event loop, twice as often as the unit's ``WatchdogSec=`` asks.

    If a handler blocks the loop, nothing is sent, and systemd starts the daemon again. Returns if the unit has no
    ``WatchdogSec=``.
    """
    interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6
    if not interval or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)


def is_main() -> bool:
    """Whether systemd takes this process for the main one of its unit, and accepts another in its place. It does not
    if a script has started this one, or in a container."""
    own = str(os.getpid())
    return "NOTIFY_SOCKET" in os.environ and own != "1" and os.environ.get(PROCESS[0], own) == own


def become_main() -> None:
    """Let the variables have the number of this process, which takes over from the one that has started it."""
    for name in PROCESS:
        if os.environ.get(name) == str(os.getppid()):
            os.environ[name] = str(os.getpid())
