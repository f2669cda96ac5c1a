"""The command `gateway`, as a user types it: in a pipe, and at a terminal."""

import os
import re
import select
import subprocess
import sys
from pathlib import Path

from servers.site import ROOT
from servers.warm_command import warm

LIMIT = 60
"""Seconds."""
SECONDS = 40
"""Seconds that :func:`run` waits."""


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command: in a copy of a process that has imported it, unless ``environment`` says how Python begins, or
    it is the daemon, which starts processes of its own and passes files on to them."""
    environ = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"} | environment
    is_plain = arguments[:1] != ("run",) and not any(each.startswith(("PYTHON", "L")) for each in environment)
    if sys.platform == "linux" and is_plain:
        return warm(ROOT).run(folder, ("-m", "gateway", *arguments), environ, SECONDS)
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS
    )


def completed(folder: Path, words: str) -> list[str]:
    """What the shell offers at the end of ``words``: its completion script calls the command so."""
    gateway = str(Path(sys.executable).with_name("gateway"))
    asked = {"_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([gateway], cwd=folder, env=os.environ | asked, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def without_route(printed: str) -> str:
    """What `gateway send` has printed, but for what the gateway says of it: which route took it."""
    return re.sub(r"; [^;\n]*\btook it.*", "", printed)


class Terminal:
    """The command at a terminal; :attr:`shown` is what a person sees there."""

    def __init__(self, command: list[str], folder: Path = ROOT) -> None:
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        self._ours, theirs = os.openpty()
        self.process = subprocess.Popen(
            command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=folder, env=env, start_new_session=True
        )
        os.close(theirs)
        self.shown = b""

    def answer(self, prompt: bytes, text: bytes) -> None:
        """Wait for all of ``prompt``: what is typed before its last character is thrown away, and is shown."""
        seen = len(self.shown)
        while prompt not in self.shown[seen:]:
            assert select.select([self._ours], [], [], LIMIT)[0], self.shown
            self.shown += os.read(self._ours, 1000)
        os.write(self._ours, text + b"\n")

    def result(self) -> str:
        printed, _ = self.process.communicate(timeout=LIMIT)
        os.close(self._ours)
        return printed.decode().strip()
