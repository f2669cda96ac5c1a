"""Two processes put, take and finish without pause in one database: neither waits for the other for long."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from servers.postgresql import emptied

WORKING = Path(__file__).with_name("taking_turns.py")
SECONDS = 3.0
SHARE, RUN = 0.2, 0.25
"""Of what both did: what each did, at least, and what one did while the other did nothing, at most."""


@pytest.mark.timeout(60)
def test_two_that_never_pause_get_their_turns() -> None:
    url = emptied().url
    environment = {"PYTHONPATH": ":".join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, WORKING, url, name, str(SECONDS)],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for name in "ab"
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=40)[0].split() for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait(10)
    order = [who for _, who in sorted((float(when), who) for who, times in enumerate(said) for when in times)]
    assert min(map(len, said)) >= SHARE * len(order)
    assert max(len(list(run)) for _, run in itertools.groupby(order)) < RUN * len(order)
