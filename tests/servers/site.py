"""The example site as a user runs it: the daemon in its own process, on free ports, with data that are thrown away."""

import contextlib
import os
import re
import shutil
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from servers.ports import free_port
from servers.programs import program
from servers.texts import webhook
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "examples" / "site"
PATIENCE = 20.0
T = TypeVar("T")


_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d ", re.MULTILINE)


def unstamped(text: str) -> str:
    """Log lines without the time that each begins with."""
    return _STAMP.sub("", text)


def until(look: Callable[[], T], what: str | Callable[[], str], seconds: float = PATIENCE) -> T:
    """What ``look`` returns, as soon as it is true. Fails after ``seconds``; ``what`` may be called for the message,
    where that shows how things stand then."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.02)
    return found


class Site:
    """A folder with a gateway.yaml, and the daemon that serves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http, self.mqtt, self.smtp = free_port(), free_port(), free_port()
        self.config = folder / "gateway.yaml"
        self.config.write_text(self.example())
        self.log = folder / "daemon.log"
        self.database = folder / "data" / "site.sqlite3"
        self.outbox = folder / "var" / "outbox"
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "SITE_VAR": str(folder / "data")}
        self.process: subprocess.Popen[bytes] | None = None

    def example(self) -> str:
        """gateway.yaml.example, but for its addresses and its path."""
        return self.at_its_addresses((ROOT / "gateway.yaml.example").read_text())

    def at_its_addresses(self, text: str) -> str:
        """``text`` with what differs between the example and this copy of it."""
        ports = {8000: self.http, 1883: self.mqtt, 8025: self.smtp}
        text = text.replace("path: examples/site", f"path: {SITE}")
        return re.sub(r":(8000|1883|8025)\b", lambda port: f":{ports[int(port[1])]}", text)

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python to its end in the site's folder."""
        command = [sys.executable, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=40
        )

    def manage(self, *arguments: str, **environment: str) -> None:
        self.environment |= environment
        done = self.python(str(SITE / "manage.py"), *arguments)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        self.spawn()
        until(self.ready, lambda: f"the daemon is ready\n{self.output()}")

    def spawn(self) -> None:
        """Start the daemon, and do not wait."""
        command = [sys.executable, "-m", "gateway", "run"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"the daemon ended with {self.process.returncode}\n{self.output()}")
        return all(self.accepts(port) for port in (self.http, self.mqtt, self.smtp))

    @staticmethod
    def accepts(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def died(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to the daemon and wait for its end: its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def output(self) -> str:
        return unstamped(self.log.read_text()) if self.log.exists() else ""

    # What is in its tables, and what it has sent.

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE)) as database:
            return database.execute(query, values).fetchall()

    def answers(self, recipient: str) -> list[bytes]:
        """The mails that have left for ``recipient``, as they were written to the outbox."""
        mails = [path.read_bytes() for path in sorted(self.outbox.glob("new/*"))]
        return [mail for mail in mails if re.search(rb"(?mi)^to:.*" + re.escape(recipient.encode()), mail)]

    # Ways to talk to it.

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http}{path}"

    def websocket(self, path: str) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.http}{path}", open_timeout=PATIENCE)

    def mail(self, message: EmailMessage | bytes, *, sender: str, to: str) -> None:
        data = message if isinstance(message, bytes) else message.as_bytes(policy=SMTP)
        with smtplib.SMTP("127.0.0.1", self.smtp, timeout=PATIENCE) as client:
            client.sendmail(sender, [to], data)

    def publish(self, topic: str, payload: str) -> None:
        """QoS 1: returns when the gateway has acknowledged it."""
        command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(self.mqtt), "-q", "1", "-t", topic]
        subprocess.run([*command, "-m", payload], check=True, timeout=PATIENCE, capture_output=True)

    def sms(self, text: str, *, sender: str, message_id: str, key: bytes = b"dev-secret") -> httpx.Response:
        body, headers = webhook(text, message_id, sender=sender, secret=key)
        return httpx.post(self.url("/hooks/sms"), content=body, headers=headers, timeout=PATIENCE)


@contextlib.contextmanager
def running(folder: Path, tables: Path, **environment: str) -> Iterator[Site]:
    site = Site(folder)
    site.environment |= environment
    site.database.parent.mkdir()
    shutil.copy(tables, site.database)
    site.start()
    try:
        yield site
    finally:
        site.close()
