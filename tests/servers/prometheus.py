"""Debian's Prometheus, which scrapes a console of ours, and its ``promtool``."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from servers.ports import free_port
from servers.programs import program
from servers.site import until

CONFIG = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, query: str) -> list[Any]:
        """The result of an instant query: ``metric`` and ``value`` of each series."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": query}, timeout=10).json()
        assert answer["status"] == "success", answer
        result: list[Any] = answer["data"]["result"]
        return result

    def value(self, query: str) -> float | None:
        """The value of the only series that ``query`` finds."""
        found = self.query(query)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def target(self) -> dict[str, Any]:
        targets = httpx.get(f"{self._url}/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
        target: dict[str, Any] = targets[0]
        return target


@contextlib.contextmanager
def prometheus(target: str, interval: str = "200ms") -> Iterator[Prometheus]:
    """One that scrapes ``target`` (host:port) again after each ``interval``, which a scrape may take."""
    path, port = program("prometheus"), free_port()
    with tempfile.TemporaryDirectory() as root:
        config, log = Path(root, "prometheus.yml"), Path(root, "log")
        config.write_text(CONFIG.format(target=target, interval=interval))
        command = [path, f"--config.file={config}", f"--storage.tsdb.path={root}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=1h"]
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                until(lambda: process.poll() is not None or _is_ready(port), log.read_text, 30.0)
                assert process.poll() is None, log.read_text()
                yield Prometheus(f"http://127.0.0.1:{port}")
            finally:
                process.kill()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def lint(exposition: str) -> str:
    """What ``promtool check metrics`` finds in a text exposition; empty if nothing."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=exposition, capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr
