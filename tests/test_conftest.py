"""What conftest.py does for a run of the tests that was started with ``nohup``, or in the background of a script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHILD = """
import signal, subprocess, sys

def test_what_a_daemon_of_a_test_would_do_at_a_signal():
    handlers = "import signal; print([repr(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGHUP)])"
    found = subprocess.run([sys.executable, "-c", handlers], capture_output=True, text=True, timeout=20).stdout
    assert "default_int_handler" in found
    assert "SIG_DFL" in found
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_signals_that_the_shell_ignores_reach_what_tests_start(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_child.py").write_text(CHILD)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-n", workers, "-c", os.devnull, "test_child.py"]
    ran = subprocess.run(
        ["sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
