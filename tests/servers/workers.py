"""A gateway of several workers, in processes of their own."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil
from servers import command
from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.replaced import Replaced
from servers.site import until

HANDLERS = """
import os
import time
import gateway
from gateway import aio

class Page(gateway.AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/publish":
            await aio.publish("told", f"{os.getpid()} {body.decode()}".encode(), qos=1)
        await self.respond(str(os.getpid()))

class Device(gateway.MqttConsumer):
    def receive(self, topic, payload):
        if topic == "slow":
            time.sleep(0.2)
        with open("handled", "a") as file:
            file.write(f"{os.getpid()} {payload.decode()}\\n")
"""
FILE = """
workers: {workers}
servers:
  web: {{protocol: http, bind: "127.0.0.1:PORT"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true, persistence: true}}
routes:
  http: [{{path: "", app: handlers.Page}}]
  mqtt: [{{topic: "#", app: handlers.Device, inbox: true}}]
console: {{bind: "127.0.0.1:{console}"}}
store: sqlite:one.db
shutdown_timeout: 3s
{more}
"""


class Workers(Replaced):
    """``gateway run`` with ``workers``; ``more``: lines of its file."""

    def __init__(
        self, folder: Path, *, workers: int = 2, more: str = "", handlers: str = HANDLERS, file: str = FILE
    ) -> None:
        self.mqtt, self.console = free_port(), free_port()
        self.text = file.format(workers=workers, mqtt=self.mqtt, console=self.console, more=more)
        super().__init__(folder, {"gateway.yaml": self.text, "handlers.py": handlers})

    def pids(self) -> list[int]:
        """The numbers of the workers that live, also of those that are being started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each.pid for each in psutil.Process(self.process.pid).children()]
        return []

    def answering(self) -> set[str]:
        """The numbers of those that answer, on connections of their own."""
        return {self.answer() for _ in range(12)}

    def all_serve(self, number: int = 2) -> None:
        """The first thing that is asked of it: it is closed if they do not."""
        with closed_if_it_fails(self.close):
            self.says(f"{number} workers serve")

    def command(self, *words: str) -> str:
        done = command.run(self.folder, *words)
        return done.stdout + done.stderr

    def broker(self) -> int:
        """The number of the worker that has the broker; 0 if none has."""
        found = re.search(r"process (\d+)[^\n]*\n(?:  [^\n]*\n)*?  mqtt +devices[^\n]*  ready", self.command("status"))
        return int(found[1]) if found else 0

    def metric(self, name: str) -> float:
        """The sum of all series of a family, as a scrape gives it; 0 if there are none."""
        return sum(self.series(name))

    def series(self, name: str) -> list[float]:
        """The values of all series of a family."""
        text = httpx.get(f"http://127.0.0.1:{self.console}/metrics", timeout=20).text
        return [float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)]


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def gone(pids: Sequence[int]) -> None:
    until(lambda: not alive(pids), lambda: f"{alive(pids)} have ended")
