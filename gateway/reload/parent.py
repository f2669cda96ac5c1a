"""Waits for the daemon that has taken over from this process, because its supervisor still knows this number.

A process becomes this program and keeps its number and its children, but nothing else: it takes a few megabytes. So
this file imports nothing of the gateway. It passes signals on, and ends as the daemon ends.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

PASSED = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
}
"""Signals that the daemon gets in place of this process."""
_BECOME_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_LONGEST = 65536
"""Bytes of messages that are kept."""
_LOST = 1
"""The exit code if the process to wait for is not a child of this one, and no other child is left."""


def become(process: int, descriptor: int) -> NoReturn:
    """Wait for ``process``, a child, in place of the program that calls this. A message on the socket ``descriptor``
    names the process that has taken over from it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED, signal.SIGCHLD})
    os.set_inheritable(descriptor, True)  # noqa: FBT003 -- its only form
    with contextlib.suppress(OSError):  # the interpreter has gone, with its release: then this process stays as it is
        os.stat(__file__)
        command = [sys.executable, "-I", "-S", __file__, str(process), str(descriptor)]
        os.execv(command[0], command)  # noqa: S606 -- no shell is wanted
    os._exit(wait(process, socket.socket(fileno=descriptor)))


def adopt_orphans() -> bool:
    """Let this process become the parent of those whose own has ended, as process 1 is. Return whether it does."""
    import ctypes

    try:
        return bool(ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0) == 0)
    except (AttributeError, OSError):  # not Linux
        return False


def wait(process: int, channel: socket.socket) -> int:
    """Wait for the end of ``process``, or of the one that takes over from it, and so on. Return its exit code."""
    channel.settimeout(0)
    said, number = b"", signal.SIGCHLD
    while True:
        ended, are_left = _ended()
        said = (said + _heard(channel))[-_LONGEST:]  # read after that: a process tells who takes over before it ends
        *lines, said = said.split(b"\n")
        for line in lines:
            process = _named_in(line, process)
        if process in ended:
            return ended[process]
        if not are_left:
            return _LOST
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        number = signal.Signals(signal.sigwaitinfo({*PASSED, signal.SIGCHLD}).si_signo)


def _heard(channel: socket.socket) -> bytes:
    with contextlib.suppress(OSError):  # nothing has come, or all that have the other end have ended
        return channel.recv(_LONGEST)
    return b""


def _named_in(line: bytes, process: int) -> int:
    """Return the process id that the message ``line`` names as the daemon, or ``process`` if it names none."""
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        named = json.loads(line)["process"]
        if type(named) is int and named > 1:
            return named
    sys.stderr.write(f"ignored, since it names no process that takes over: {line[:60]!r}\n")
    return process


def _ended() -> tuple[dict[int, int], bool]:
    """Return the exit codes of the children that have ended, as a shell has them, and whether others are left."""
    found = {}
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(child[1])
            found[child[0]] = code if code >= 0 else 128 - code
    except ChildProcessError:
        return found, False
    return found, True


if __name__ == "__main__":
    sys.exit(wait(int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
