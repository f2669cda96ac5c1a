"""`gateway run --reload` in a folder whose files a test edits."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from servers.ports import free_port
from servers.site import ROOT, unstamped, until

COMMAND = (sys.executable, "-m", "gateway", "run", "--reload")


class Edited:
    """The supervisor, in a process group of its own, as a shell starts it; what all its processes say is in a file."""

    def __init__(self, folder: Path, files: dict[str, str], command: Sequence[str] = COMMAND) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        for name, text in files.items():
            self.write(name, text)
        # As most users have it: what is imported leaves its compiled form.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": ""}
        with (folder / "said.log").open("w") as said:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=said, stderr=said, process_group=0
            )

    def write(self, name: str, text: str) -> None:
        """Save a file as editors do, if it is not so already: a new one takes the place of the old one."""
        path, text = self.folder / name, text.replace("PORT", str(self.port))
        if path.exists() and path.read_text() == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.replace(path)

    def answer(self, path: str = "") -> str:
        """The answer on a connection of its own; empty if there is none."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + path, timeout=20).text
        return ""

    def answers(self, text: str, path: str = "") -> None:
        until(lambda: self.answer(path) == text, lambda: f"it answers {text!r}:\n{self.said()}")

    def has(self, text: str) -> None:
        """Wait until ``text`` is in the answer."""
        until(lambda: text in self.answer(), lambda: f"{text!r} is in its answer:\n{self.said()}")

    def said(self) -> str:
        return unstamped((self.folder / "said.log").read_text())

    def says(self, text: str, times: int = 1) -> None:
        until(lambda: self.said().count(text) >= times, lambda: f"it says {text!r}:\n{self.said()}")

    def group(self) -> list[int]:
        """The processes of it that live."""
        found = []
        for file in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = file.read_text().rpartition(")")[2].split()[:3]
                found += [int(file.parent.name)] if int(group) == self.process.pid and state != "Z" else []
        return found

    def interrupt(self) -> None:
        """Ctrl+C: the terminal sends it to every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
