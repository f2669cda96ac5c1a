"""The collector in a process of its own, which a test may stop and kill."""

import os
import signal
import subprocess
import sys

from servers.collector import collecting
from servers.site import ROOT


class CollectorProcess:
    """Runs from the beginning. What it gets is lost."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait(20)
        self._process.stdout.close()


if __name__ == "__main__":
    with collecting() as collector:
        sys.stdout.write(f"{collector.url}\n")
        sys.stdout.flush()
        signal.pause()
