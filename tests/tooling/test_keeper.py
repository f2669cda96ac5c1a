"""What tests start does not outlive them, also if their process ends at once."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from servers import replaced
from servers.replaced import Replaced
from servers.site import ROOT, until

TESTS = """
import os, subprocess, sys
from servers.keeper import keep

end = keep()
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(left.pid, flush=True)
{ends}
"""


@pytest.mark.parametrize("ends", ["os._exit(1)", "os.kill(os.getpid(), 9)", "end()"])
def test_what_is_left_behind_is_killed(ends: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TESTS.format(ends=ends)], cwd=ROOT / "tests", capture_output=True, text=True, timeout=30
    )
    left = int(done.stdout)
    until(lambda: not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE, done.stderr)


def test_a_gateway_that_does_not_come_to_serve_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaced, "until", partial(until, seconds=0.5))
    with pytest.raises(pytest.fail.Exception, match="not within"):
        Replaced(tmp_path, {}, [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)])
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in (each.info["cmdline"] or ())]


def test_these_tests_have_a_keeper() -> None:
    kept = [each for each in psutil.Process().children() if "keeper.py" in " ".join(each.cmdline())]
    assert len(kept) == 1
