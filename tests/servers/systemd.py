"""What systemd does for a service: it opens sockets for it, hears its state, and keeps the sockets that it is given."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from servers.keeper import closed_if_it_fails
from servers.site import PATIENCE, ROOT, until

RUN = (sys.executable, "-m", "gateway", "run")
_AS_SYSTEMD = """
import os, sys
sockets = list(map(int, sys.argv[1].split()))
high = [os.dup2(each, 200 + at) for at, each in enumerate(sockets)]
for at, each in enumerate(high):
    os.dup2(each, 3 + at)
os.closerange(3 + len(high), 400)
os.environ["LISTEN_PID"] = os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Sockets are passed from descriptor 3 on, and the number of the process is in its environment."""


class Systemd:
    """Runs ``gateway run`` in ``folder`` as a service of Type=notify."""

    def __init__(self, folder: Path, opened: Sequence[tuple[str, socket.socket]] = (), **environment: str) -> None:
        """``opened``: those of .socket units, with their names."""
        self._environment = environment
        self.folder = folder
        self.opened = [*opened]
        self.stored: list[tuple[str, socket.socket]] = []
        self.states: list[str] = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service, and wait until it is ready."""
        passed = [*self.opened, *self.stored]
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "LISTEN_FDS": str(len(passed)),
            "LISTEN_FDNAMES": ":".join(name for name, _ in passed),
            **self._environment,
        }
        numbers = [each.fileno() for _, each in passed]
        command = [sys.executable, "-c", _AS_SYSTEMD, " ".join(map(str, numbers)), *RUN]
        self.states.clear()
        with (self.folder / "said.log").open("a") as said:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, pass_fds=numbers, stdout=said, stderr=said
            )
        with closed_if_it_fails(self.close):
            until(lambda: self.hears("READY=1"), self.said)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.hears("")
        return code

    def hears(self, state: str) -> bool:
        """Take what the service has said, and return whether it has said ``state``."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._notify, 4096, 16)
            except BlockingIOError:
                return state in self.states
            lines = data.decode().splitlines()
            sockets = [socket.socket(fileno=each) for each in descriptors]
            name = "".join(line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME="))
            if "FDSTORE=1" in lines:
                self._store(name, sockets)
            elif "FDSTOREREMOVE=1" in lines:
                self._remove(name)
            else:
                self.states += [line for line in lines if line != "WATCHDOG=1"]

    def _store(self, name: str, sockets: Sequence[socket.socket]) -> None:
        """A socket that is stored already is not stored again (sd_pid_notify_with_fds(3))."""
        known = [os.fstat(each.fileno()).st_ino for _, each in self.stored]  # several may have one address
        for each in sockets:
            if os.fstat(each.fileno()).st_ino in known:
                each.close()
            else:
                self.stored.append((name, each))

    def _remove(self, name: str) -> None:
        for each in [each for each in self.stored if each[0] == name]:
            self.stored.remove(each)
            each[1].close()

    def said(self) -> str:
        return (self.folder / "said.log").read_text()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        for _, each in [*self.opened, *self.stored]:
            each.close()
        self._notify.close()
