"""The zoo under a server, in a process of its own."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import waiting
from raw import LIMIT, Peer, dial
from servers.ports import free_port
from servers.site import ROOT, Site, until

ZOO = Path(__file__).parent
_RECORD = re.compile(
    r"^(\S+ )?(WARNING|ERROR|CRITICAL)\b|^Traceback|exception was never retrieved|never awaited|: Warning: "
)
PAGE = "".join(f"<p>Paragraph {number} of a page that compresses well.</p>\n" for number in range(5000))


@dataclass(frozen=True)
class Mark:
    what: str
    at: float


class Served:
    """One server, the zoo behind it, and what both have said."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"
        self.marks_file = folder / "marks"
        self.marks_file.touch()
        (folder / "files").mkdir()
        (folder / "files" / "page.html").write_text(PAGE)
        os.utime(folder / "files" / "page.html", (1_700_000_000, 1_700_000_000))  # one ETag under both servers
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        if self.name == "uvicorn":
            return ["uvicorn", "zoo.asgi:application", "--port", str(self.port), "--no-access-log", "--lifespan", "off"]
        return ["gateway", "run"]

    def start(self) -> None:
        web = f"{{protocol: http, bind: '127.0.0.1:{self.port}'}}"
        (self.folder / "gateway.yaml").write_text(f"servers: {{web: {web}}}\napplication: zoo.asgi:application\n")
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ZOO}",
            "MARKS": str(self.marks_file),
            "FILES": str(self.folder / "files"),
            "PYTHONHASHSEED": "0",  # the order of a set is seen in a header
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command()], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def wait(self) -> None:
        until(lambda: Site.accepts(self.port), lambda: f"{self.name} listens\n{self.log.read_text()}")

    def stop(self) -> float:
        """The seconds that it took to end after SIGTERM."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.close()
        return time.monotonic() - began

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def marks(self) -> list[Mark]:
        lines = (line.partition(" ") for line in self.marks_file.read_text().splitlines())
        return [Mark(what, float(at)) for at, _, what in lines]

    def records(self) -> list[str]:
        """What somebody would have to look at."""
        return [line for line in self.log.read_text().splitlines() if _RECORD.search(line)]


@dataclass
class Visit:
    """One scenario with one server."""

    served: Served
    before: int
    """Marks that were made before this one."""
    left_at: float = 0.0

    def dial(self) -> Any:
        return dial(self.served.port)

    def marks(self) -> list[str]:
        """Those that it has made."""
        return [mark.what for mark in self.served.marks()[self.before :]]

    def left(self, peer: Peer, how: str = "close") -> None:
        """``peer`` leaves, now."""
        getattr(peer, how)()
        self.left_at = time.monotonic()


@dataclass(frozen=True)
class Outcome:
    said: Any
    """What the scenario returned."""
    marks: list[str]
    lateness: float
    """Seconds from its leaving to the last mark; 0 where it did not leave."""
    records: list[str]


async def visit(served: Served, scenario: Callable[[Visit], Awaitable[Any]], marks: int, settle: float) -> Outcome:
    """Run ``scenario``, wait for as many marks as it makes, and see that no more come within ``settle`` seconds."""
    before, old_records = len(served.marks()), len(served.records())
    each = Visit(served, before)
    async with asyncio.timeout(30):
        said = await scenario(each)
    with contextlib.suppress(TimeoutError):  # the outcome shows which are missing
        await waiting.until(lambda: len(served.marks()[before:]) >= marks, LIMIT)
    await asyncio.sleep(settle)
    made = served.marks()[before:]
    lateness = made[-1].at - each.left_at if made and each.left_at else 0.0
    return Outcome(said, [mark.what for mark in made], lateness, served.records()[old_records:])
