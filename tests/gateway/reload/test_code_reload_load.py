"""`gateway reload --code` many times while peers of all protocols talk to the gateway."""

import os
from pathlib import Path

import psutil
import pytest
from servers.replaced import Replaced
from servers.replaced_load import Load
from servers.site import until

RELOADS = int(os.environ.get("GATEWAY_RELOADS", "4"))
"""`make faults` does more."""


@pytest.mark.timeout(120 + 15 * RELOADS)
@pytest.mark.parametrize("persistence", [False, True], ids=["memory", "stored"])
def test_nothing_is_refused_lost_or_handled_twice(tmp_path: Path, persistence: bool) -> None:
    with Load(persistence=persistence) as load:
        running = Replaced(tmp_path, load.files)
        try:
            load.begin(running)
            held = []
            for _ in range(RELOADS):
                load.grows()
                before = running.answer()
                done = running.reload()
                assert done.returncode == 0, done.stdout + done.stderr + running.said()
                assert running.answer() != before
                load.grows()
                until(lambda: len(running.processes()) <= 2, "the one before has ended")
                held.append(sum(map(psutil.Process.num_fds, running.processes())))
            load.end()
            assert load.failures == []
            assert {line for line, times in load.handled().items() if times > 1} == set()
            assert {name for name, times in load.heard.items() if times > 1} == set()
            assert max(held) - held[0] <= 5, held
        finally:
            running.close()
