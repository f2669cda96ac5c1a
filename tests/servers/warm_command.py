"""Runs Python in copies of a process that has already imported the gateway: a command takes a third of the CPU time
that it takes in a process that begins with nothing.

A copy has the arguments, the folder, the environment, the import path and the output of the command, and ends as Python
does. Nothing that reads the environment or Django's settings when it is imported is imported before.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

IMPORTED = (
    "asyncio",
    "gateway.cli.building",
    "gateway.cli.main",
    "gateway.cli.root",
    "gateway.cli.store.session",
    "gateway.runtime.build",
    "gateway.store.sqlite.engine",
    "protocols.http.websocket",
    "sqlite3",
    "typer._adapters",
    "typer.main",
)
OF_DJANGO = (
    "django.core.management",
    "django.core.management.commands.migrate",
    "django.db.backends.sqlite3.base",
    "django.db.models",
)
"""What a Django project imports, besides. The commands of the gateway work without, and are copied without."""
LONGEST = 1 << 20
"""Bytes of a request: arguments and environment."""


class Warm:
    """The process that is copied."""

    def __init__(self, root: Path, *modules: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno()), *IMPORTED, *modules]
            environ = os.environ | {"PYTHONPATH": str(root)}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environ, stdin=subprocess.DEVNULL)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def run(
        self, folder: Path, arguments: tuple[str, ...], environ: dict[str, str], seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``python ARGUMENTS`` in ``folder``, as :func:`subprocess.run` does. ``environ`` has a PYTHONPATH."""
        request = json.dumps({"folder": str(folder), "arguments": arguments, "environ": environ}).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self._socket, [request], [theirs.fileno(), out.fileno(), err.fileno()])
            theirs.close()
            ours.settimeout(seconds)
            pid = int(ours.recv(100))
            try:
                code = int(ours.recv(100))
            except TimeoutError:
                os.kill(pid, 9)
                ours.recv(100)  # it has ended
                raise subprocess.TimeoutExpired(["python", *arguments], seconds) from None
            printed = [_text(each.fileno()) for each in (out, err)]
        return subprocess.CompletedProcess(["python", *arguments], code, *printed)


def _text(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    with open(file, encoding="utf-8", errors="replace", closefd=False) as written:
        return written.read()


@cache
def warm(root: Path, *modules: str) -> Warm:
    """The one of this process, which ends with it."""
    made = Warm(root, *modules)
    atexit.register(made.close)
    return made


def serve(control: socket.socket) -> None:
    """Copy this process for each request. Return in a copy: all that is left to do there is to run the command."""
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([control, *running], [], [])
        for pidfd in running.keys() & set(ready):
            _answer(*running.pop(pidfd))
            os.close(pidfd)
        if control not in ready:
            continue
        request, files, _, _ = socket.recv_fds(control, LONGEST, 3)
        if not request:
            os._exit(0)
        pid = os.fork()
        if not pid:
            control.close()
            return _become(request, *files)
        reply = socket.socket(fileno=files[0])
        reply.send(b"%d" % pid)
        running[os.pidfd_open(pid)] = pid, reply
        for each in files[1:]:
            os.close(each)


def _answer(pid: int, reply: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with reply, contextlib.suppress(OSError):  # its test has waited too long
        reply.send(b"%d" % code)


def _become(request: bytes, reply: int, out: int, err: int) -> None:
    wanted = json.loads(request)
    for number, file in {1: out, 2: err}.items():
        os.dup2(file, number)
    for each in (reply, out, err):
        os.close(each)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environ"])
    sys.argv[:] = wanted["arguments"]
    sys.path[1:2] = wanted["environ"]["PYTHONPATH"].split(":")


def execute() -> None:
    """Do what Python does with :data:`sys.argv`: ``-m MODULE``, ``-c CODE`` or a file, and their arguments."""
    kind = sys.argv[0]
    if kind in ("-m", "-c"):
        given = sys.argv.pop(1)
    if kind == "-m":
        sys.path[0] = os.getcwd()
        runpy.run_module(given, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[0] = ""
        sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(given, "<string>", "exec"), vars(sys.modules["__main__"]))  # noqa: S102 -- as Python does
    else:
        sys.path[0] = str(Path(kind).resolve().parent)
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    for each in sys.argv[2:]:
        import_module(each)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    gc.unfreeze()
    execute()
