"""`gateway run`, or another command that runs until it is stopped, in its own process."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx
from servers.site import ROOT, unstamped, until


class Daemon:
    def __init__(
        self,
        folder: Path,
        file: str = "gateway.yaml",
        *options: str,
        command: Sequence[str] = (),
        under: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """``gateway run`` with ``file`` and ``options``, or ``gateway`` with the arguments ``command``. ``under`` is a
        program that runs it, as ``prlimit --nofile=100``."""
        self.folder = folder
        self.lines: list[str] = []
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment
        self.process = subprocess.Popen(
            [*under, sys.executable, "-m", "gateway", *(command or ("run", "-c", file, *options))],
            cwd=folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(unstamped(line.rstrip("\n")))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def says(self, words: str) -> None:
        until(lambda: words in self.text or self.process.poll() is not None, lambda: f"{words!r} in {self.text}")
        until(lambda: words in self.text, lambda: f"{words!r} in {self.text}", 2.0)

    def wait(self) -> int:
        code = self.process.wait(20)
        self._reader.join(5)
        return code

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.wait()
        self.process.stdout.close()


def in_background(url: str, outcomes: list[str]) -> threading.Thread:
    def get() -> None:
        try:
            outcomes.append(httpx.get(url, timeout=15).text)
        except httpx.HTTPError as error:
            outcomes.append(type(error).__name__)

    thread = threading.Thread(target=get, daemon=True)
    thread.start()
    return thread
