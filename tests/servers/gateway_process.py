"""A gateway in a process of its own, which a test may kill and start again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from servers.site import PATIENCE, ROOT


class GatewayProcess:
    """``handlers`` is the source of the module ``module``, and ``config`` the gateway.yaml; both lie in ``folder``."""

    def __init__(self, folder: Path, module: str, handlers: str, config: str, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / f"{module}.py").write_text(handlers)
        (folder / "gateway.yaml").write_text(config)
        self._environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "gateway", "run"]
            self._process = subprocess.Popen(command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)

    def stop(self, how: signal.Signals) -> int:
        """Send ``how`` and return the exit code; 0 where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()

    def ended(self) -> bool:
        """Whether it does not run, though it was started."""
        return self._process is None or self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def output(self) -> str:
        return (self.folder / "log").read_text()
