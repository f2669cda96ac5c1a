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
        ended = _ended()
        with contextlib.suppress(OSError):  # read after that: a process tells who takes over before it ends
            said += channel.recv(4096)
        *lines, said = said.split(b"\n")
        process = json.loads(lines[-1])["process"] if lines else process
        if process in ended:
            return ended[process]
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        number = signal.Signals(signal.sigwaitinfo({*PASSED, signal.SIGCHLD}).si_signo)


def _ended() -> dict[int, int]:
    """Return the exit codes of the children that have ended, as a shell has them."""
    found = {}
    with contextlib.suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(child[1])
            found[child[0]] = code if code >= 0 else 128 - code
    return found


if __name__ == "__main__":
    sys.exit(wait(int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
