"""Ends the processes that tests have left behind, however the process of the tests ends: pytest-timeout ends it at
once, without a ``finally``.

All processes that it starts inherit a variable of the environment. A process beside it waits for its end, and then
kills those that have the variable.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

MARK = "GATEWAY_TESTS"
"""The variable."""
_LOOKS = 20
_PAUSE = 0.1


@contextlib.contextmanager
def closed_if_it_fails(close: Callable[[], object]) -> Iterator[None]:
    """Call ``close`` if what starts a server in this block fails: nobody else has it then."""
    try:
        yield
    except BaseException:
        close()
        raise


def keep() -> Callable[[], None]:
    """Begin to keep the processes that this one starts from now on. Call the result before a regular end."""
    os.environ.pop(MARK, None)
    mark = secrets.token_hex(8)
    # Ctrl+C ends the process of the tests first.
    keeper = subprocess.Popen([sys.executable, __file__, mark], stdin=subprocess.PIPE, start_new_session=True)
    os.environ[MARK] = mark

    def end() -> None:
        keeper.communicate()

    return end


def _kill_all(mark: str) -> None:
    for _ in range(_LOOKS):  # one that is killed may have started another one
        if not (left := list(_with(mark))):
            return
        for each in left:
            with contextlib.suppress(OSError):
                os.kill(each, 9)
        time.sleep(_PAUSE)


def _with(mark: str) -> Iterator[int]:
    variable = f"{MARK}={mark}".encode()
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as environment:
            if variable in environment.read().split(b"\0"):
                yield int(process)


if __name__ == "__main__":
    sys.stdin.read()
    _kill_all(sys.argv[1])
