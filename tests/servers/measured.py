"""A gateway whose metrics a test reads, as Prometheus does: over HTTP, from the console."""

import contextlib
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until

CONSOLE = '\nconsole: {bind: "127.0.0.1:PORT_console"}\n'
LIMIT = 15.0

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Measured(Daemon):
    """In ``file``, ``PORT_web`` stands for the port of the server ``web``, which is ``port["web"]``. The console is
    added. ``handlers`` is the text of the module ``handlers``, ``under`` the program that runs the gateway."""

    def __init__(self, folder: Path, file: str, handlers: str = "", under: Sequence[str] = ()) -> None:
        self.port: dict[str, int] = {}
        (folder / "handlers.py").write_text(handlers)
        (folder / "gateway.yaml").write_text(re.sub(r"PORT_(\w+)", self._port, file + CONSOLE))
        super().__init__(folder, under=under)
        until(lambda: self._is_ready() or self.process.poll() is not None, lambda: f"it is ready\n{self.text}")
        assert self.process.poll() is None, self.text

    def _port(self, named: re.Match[str]) -> str:
        return str(self.port.setdefault(named[1], free_port()))

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://{self.console}/readyz", timeout=LIMIT).status_code == 200
        return False

    @property
    def console(self) -> str:
        return f"127.0.0.1:{self.port['console']}"

    def dial(self, server: str, said: bytes = b"") -> socket.socket:
        """A connection to the server, which has sent ``said``."""
        peer = socket.create_connection(("127.0.0.1", self.port[server]), LIMIT)
        peer.sendall(said)
        return peer

    def url(self, server: str, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port[server]}{path}"

    def scrape(self) -> Series:
        """The value of each series, by its name and labels."""
        text = httpx.get(f"http://{self.console}/metrics", timeout=LIMIT).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for metric in text_string_to_metric_families(text)
            for sample in metric.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value now; None if there is no such series."""
        return self.scrape().get((name, frozenset(labels.items())))

    def number(self, name: str, **labels: str) -> float:
        """The value now, of a series that there must be."""
        value = self.value(name, **labels)
        assert value is not None, f"{name}{labels} is missing"
        return value

    def becomes(self, expected: float | None, name: str, **labels: str) -> None:
        until(lambda: self.value(name, **labels) == expected, lambda: self._says_what(name, labels))

    def passes(self, least: float, name: str, **labels: str) -> None:
        """Wait until the value is ``least`` or more."""
        until(lambda: (self.value(name, **labels) or 0) >= least, lambda: self._says_what(name, labels))

    def _says_what(self, name: str, labels: dict[str, str]) -> str:
        return f"{name}{labels} is {self.value(name, **labels)}\n{self.text}"
