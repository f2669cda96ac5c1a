"""A gateway whose processes take over from each other, by `gateway reload --code`."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
from servers import command
from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.site import ROOT, unstamped, until

RUN = (sys.executable, "-m", "gateway", "run")
PAGE = """
import os

async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""
"""An application whose answer is the number of its process."""


def start_reload(folder: Path) -> "subprocess.Popen[bytes]":
    """Start `gateway reload --code`, and do not wait for it."""
    words = [sys.executable, "-m", "gateway", "reload", "--code"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, cwd=folder, env=environment, stderr=subprocess.DEVNULL)


class Replaced:
    """``gateway run`` in ``folder``. In the files, PORT stands for the port of its http server."""

    def __init__(
        self, folder: Path, files: dict[str, str], command: Sequence[str | Path] = RUN, **environment: str
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        for name, text in files.items():
            self.write(name, text)
        self._command = command
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.start()

    def start(self, cwd: Path | None = None) -> None:
        with (self.folder / "said.log").open("a") as said:
            self.process = subprocess.Popen(
                self._command, cwd=cwd or self.folder, env=self._environment, stdout=said, stderr=said
            )
        with closed_if_it_fails(self.close):
            until(lambda: self.answer() or self.process.poll() is not None, self.said)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("PORT", str(self.port)))
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()

    def reload(self, *options: str) -> "subprocess.CompletedProcess[str]":
        return command.run(self.folder, "reload", "--code", *options)

    def answer(self, path: str = "") -> str:
        """The answer on a connection of its own; empty if it is refused."""
        with contextlib.suppress(httpx.ConnectError):
            return httpx.get(self.url + path, timeout=20).text
        return ""

    def said(self) -> str:
        return unstamped((self.folder / "said.log").read_text())

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.said().count(text) >= times, lambda: f"it says {text!r}:\n{self.said()}")

    def processes(self) -> list[psutil.Process]:
        """Return the process that was started, and its descendants."""
        with contextlib.suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def close(self) -> None:
        left = self.processes()
        self.process.kill()
        self.process.wait(20)
        for each in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, 20)
