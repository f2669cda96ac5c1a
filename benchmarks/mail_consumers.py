"""Consumers of mail: ``AsyncEmailConsumer`` beside an application that takes the events and looks at nothing.

CPU time of the server's process for a mail that comes by SMTP, and what the process grew by at the most, as a multiple
of the mail's size. Each figure is from a process of its own, alternated. Less is better.
"""

import argparse
import asyncio
import smtplib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from benchmarks.side_by_side import medians, python
from gateway import AsyncEmailConsumer, InboundEmail
from protocols.asgi import Receive, Scope, Send
from protocols.mail.smtp.server import SMTPServer, SMTPSettings


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "email.receive":
        pass


class Subject(AsyncEmailConsumer):
    """Looks at the header, as one that routes mail does."""

    async def receive(self, message: InboundEmail, **captures: Any) -> None:
        assert message.subject is not None
        assert message.sender


class Desk(AsyncEmailConsumer):
    """Reads what a support desk stores."""

    async def receive(self, message: InboundEmail, **captures: Any) -> None:
        assert message.sender
        assert message.kind == "person"
        assert message.reply_text
        assert len([(each.filename, each.content_type) for each in message.attachments]) < 9


APPS: dict[str, Any] = {"raw": raw, "subject": Subject.as_asgi(), "desk": Desk.as_asgi()}


class Row(NamedTuple):
    mail: str
    count: int


ROWS = {"1 KiB": Row("small", 1500), "20 KiB, HTML and an image": Row("usual", 500), "26 MB": Row("large", 20)}


def deliver(address: str, path: str, count: int) -> None:
    """Send the mail ``count`` times on one connection; each has a Message-ID of its own."""
    host, _, port = address.rpartition(":")
    content = Path(path).read_bytes()
    with smtplib.SMTP(host, int(port)) as client:
        for number in range(count):
            client.sendmail("ann@example.org", ["help@example.org"], b"Message-ID: <%d@x.org>\r\n" % number + content)


async def one(name: str, app: str, path: str) -> None:
    """Print CPU seconds for a mail, and the growth of the process in sizes of the mail."""
    row, size = ROWS[name], len(await asyncio.to_thread(Path(path).read_bytes))
    settings = SMTPSettings(bind="127.0.0.1:0", max_message=50 * 1024 * 1024)
    async with SMTPServer(APPS[app], settings) as server:
        await sender(server.address, path, 1)
        before, begun = resident("VmRSS"), time.process_time()
        forget_peak()
        await sender(server.address, path, row.count)
        print((time.process_time() - begun) / row.count, (resident("VmHWM") - before) / size)


async def sender(address: str, path: str, count: int) -> None:
    command = python("-m", "benchmarks.mail_consumers", "--send", address, path, str(count))
    done = await asyncio.create_subprocess_exec(*command)
    assert await done.wait() == 0


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def compare(name: str, rounds: int, path: Path) -> None:
    command = ("-m", "benchmarks.mail_consumers", "--one", name, "{peer}", str(path))
    found = medians(list(APPS), rounds, *command)
    for app, (seconds, memory) in found.items():
        size = f"{memory:6.2f} x" if ROWS[name].mail == "large" else ""
        print(f"{name:26} {app:8} {seconds * 1000:9.3f} ms {seconds / found['raw'][0]:6.2f}  {size}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        deliver(given.send[0], given.send[1], int(given.send[2]))
    elif given.one:
        uvloop.run(one(*given.one))
    else:
        print(f"{'mail':26} {'consumer':8} {'CPU a mail':>12} {'ratio':>6}  memory")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(python("-m", "benchmarks.mail_reading", "--make", folder), check=True)
            for name, row in ROWS.items():
                compare(name, 3 if given.quick else 7, Path(folder) / row.mail)


if __name__ == "__main__":
    main()
