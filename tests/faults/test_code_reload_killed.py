"""kill -9 of one of the processes while the next one takes over from it, at any moment."""

import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from servers.replaced import Replaced
from servers.replaced_load import Load
from servers.site import ROOT, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

SEEDS = int(os.environ.get("FAULT_SEEDS", "3"))
KILLS = 2
LONGEST = 2.0
"""Seconds that a reload takes, and some more."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_was_acknowledged_is_handled_whichever_process_is_killed(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed)
    with Load(persistence=True) as load:
        running = Replaced(tmp_path, load.files)
        try:
            load.begin(running)
            for _ in range(KILLS):
                load.grows()
                command = [sys.executable, "-m", "gateway", "reload", "--code"]
                asking = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
                time.sleep(moment.uniform(0, LONGEST))
                victim = moment.choice(running.processes())
                victim.kill()
                asking.wait(60)
                if not serves(running):
                    running.start()  # as a supervisor does
            load.grows()
            assert running.reload().returncode == 0
            load.end()
            assert {line for line, times in load.handled().items() if times > 1 + KILLS} == set()
        finally:
            running.close()


def serves(running: Replaced) -> bool:
    """Whether a gateway serves after the kill; a supervisor sees that the process has ended which it has started."""
    until(lambda: running.process.poll() is not None or answers(running), running.said, 60.0)
    try:
        running.process.wait(3)
    except subprocess.TimeoutExpired:
        return True
    until(lambda: not answers(running) and not left(running), running.said, 60.0)
    return False


def answers(running: Replaced) -> bool:
    """Whether a process takes a connection, and does not end before it has answered."""
    with contextlib.suppress(httpx.TransportError):
        return bool(running.answer())
    return False


def left(running: Replaced) -> list[psutil.Process]:
    """The processes of the gateway that live on without the one that was started."""
    folder = str(running.folder)
    return [
        each
        for each in psutil.process_iter(["cwd", "cmdline", "status"])
        if each.info["cwd"] == folder and "gateway" in (each.info["cmdline"] or []) and each.info["status"] != "zombie"
    ]
