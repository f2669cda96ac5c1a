"""The command as the first process of a container, to which the kernel gives only the signals that it has asked for."""

import subprocess
import sys
from pathlib import Path

import psutil
from servers.programs import namespaces, program
from servers.site import ROOT, until

CONFIG = "servers: {web: {protocol: http, bind: 127.0.0.1:0}}\nroutes: {http: slow.app}\n"
SLOW = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n"


def test_sigterm_ends_it_while_it_starts(tmp_path: Path) -> None:
    namespaces()
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    (tmp_path / "slow.py").write_text(SLOW)
    unshare = [program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*unshare, sys.executable, "-m", "gateway", "run"]
    with subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as outside:
        try:
            until((tmp_path / "begun").exists, "the handlers' module is imported")
            (first,) = psutil.Process(outside.pid).children()
            first.terminate()
            assert outside.wait(20) == 143
        finally:
            outside.kill()
