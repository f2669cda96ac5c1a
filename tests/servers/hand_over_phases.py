"""Stops a process of a hand-over at a phase that a test names, so that the test can kill one of them there.

The module of handlers calls :func:`watch`, which no release has: it looks at the messages of the channel, from inside
both processes. A phase is what the process that stops has just done: ``sent ready``, ``sends ready`` just
before it, ``got ready``; an answer is called by its request. ``imports`` is the next process that imports the handlers,
and ``leaves`` the old one that becomes the process that waits.
"""

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Any, Protocol

from servers.site import until

from gateway.reload import parent
from gateway.reload.channel import Channel, Message, Received

_WANTED, _REACHED = Path("stop-at"), Path("stopped")
SOURCE = """
from servers.hand_over_phases import watch
watch()
"""


def watch() -> None:
    """Watch this process. Its folder has the file that says where it stops."""
    asked = ""
    send, next_, become = Channel.send, Channel._next, parent.become

    def stopping_send(channel: Channel, message: Message, sockets: list[socket.socket] | None = None) -> None:
        what = f"answer to {asked}" if message["do"] == "answer" else message["do"]
        _stop_at(f"sends {what}")
        send(channel, message, sockets)
        _stop_at(f"sent {what}")

    def stopping_next(channel: Channel) -> Received:
        nonlocal asked
        received = next_(channel)
        asked = received[0]["do"]
        _stop_at(f"got {asked}")
        return received

    def stopping_become(*arguments: Any) -> None:
        _stop_at("leaves")
        become(*arguments)

    Channel.send, Channel._next = stopping_send, stopping_next  # type: ignore[method-assign]  # that is the purpose
    parent.become = stopping_become  # type: ignore[assignment]  # that is the purpose
    _stop_at("imports")


def _stop_at(phase: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if _WANTED.read_text() == phase:
            _WANTED.unlink()  # once
            _REACHED.with_suffix(".new").write_text(str(os.getpid()))
            _REACHED.with_suffix(".new").rename(_REACHED)
            os.kill(os.getpid(), signal.SIGSTOP)


class Running(Protocol):
    folder: Path

    def said(self) -> str: ...


def stop_at(running: Running, phase: str) -> None:
    """Let the next process that comes there stop at ``phase``."""
    (running.folder / _REACHED).unlink(missing_ok=True)
    (running.folder / _WANTED).write_text(phase)


def stopped(running: Running, seconds: float) -> int:
    """Wait until a process has stopped. Return its number."""
    reached = running.folder / _REACHED
    until(reached.exists, lambda: f"a process stops\n{running.said()}", seconds)
    return int(reached.read_text())
