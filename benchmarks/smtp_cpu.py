"""Row 9 in CPU time of the server process, which is steadier than a rate on a busy machine.

1,000 mails of 1 KiB on a plain route and on one with a policy; mails of 25 MB, with the memory that they take.

    python -m benchmarks.smtp_cpu [--quick]
"""

import argparse
import asyncio
import base64
import contextlib
import random
import smtplib
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop
from aiosmtpd.smtp import SMTP

from benchmarks.side_by_side import Peer, client, cpu, python, running
from protocols.asgi import Application, Receive, Scope, Send
from protocols.mail.smtp.server import SMTPServer, SMTPSettings

LINE = 57
"""Bytes that base64 writes as one line of 76."""
SIZE = 25 * 10**6
SECONDS = 2.0


async def drop(scope: Scope, receive: Receive, send: Send) -> None:
    """A raw application that keeps nothing."""
    while (await receive())["more_body"]:
        pass


async def join(scope: Scope, receive: Receive, send: Send) -> None:
    """A raw application that needs the whole message at one time."""
    chunks, more = list[bytes](), True
    while more:
        event = await receive()
        chunks.append(event["body"])
        more = event["more_body"]
    b"".join(chunks)


def consumer() -> Application:
    from gateway import AsyncEmailConsumer

    class Desk(AsyncEmailConsumer):
        async def receive(self, message: object) -> None:
            """Nothing to wait for."""

    return Desk.as_asgi()


class Null:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 OK"


APPS: dict[str, Callable[[], Application]] = {"drop": lambda: drop, "join": lambda: join, "consumer": consumer}


async def serve(kind: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        if kind == "aiosmtpd":
            made = partial(SMTP, Null(), hostname="x", loop=loop, data_size_limit=2 * SIZE)
            await stack.enter_async_context(await loop.create_server(made, "127.0.0.1", port))
        else:
            settings = SMTPSettings(bind=f"127.0.0.1:{port}", max_message=2 * SIZE)
            await stack.enter_async_context(SMTPServer(APPS[kind](), settings, state={}))
        await loop.create_future()


def memory(pid: int, which: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(which))


def large_mail() -> bytes:
    text = base64.encodebytes(random.Random(1).randbytes(SIZE * LINE // 78)).replace(b"\n", b"\r\n")
    return b"From: a@x.org\r\nSubject: large\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text


def large(rounds: int) -> None:
    print(f"SMTP, mails of {SIZE // 10**6} MB: MB per CPU second, median of {rounds}; peak memory in sizes of a mail")
    mail = large_mail()
    for kind in [*APPS, "aiosmtpd"]:
        command = partial(_command, kind)
        with running(Peer(kind, command)) as (port, pid), smtplib.SMTP("127.0.0.1", port) as peer:
            peer.sendmail("a@x.org", ["b@x.org"], b"Subject: warm\r\n\r\n")
            before, found = memory(pid, "VmRSS"), list[float]()
            for _ in range(rounds):
                began = cpu(pid)
                for _ in range(4):
                    peer.sendmail("a@x.org", ["b@x.org"], mail)
                found.append(4 * len(mail) / 1e6 / max(cpu(pid) - began, 0.01))
            peak = (memory(pid, "VmHWM") - before) / len(mail)
            print(f"  {kind:<12}{statistics.median(found):>8,.0f}{peak:>8.2f}", flush=True)


def small(rounds: int) -> None:
    print(f"SMTP, 1 KiB, 20 connections: CPU seconds for 1,000 mails, median of {rounds}")
    commands = {kind: partial(_inbox_command, kind) for kind in ("plain", "policy", "inbox")}
    found: dict[str, list[float]] = {kind: [] for kind in commands}
    with contextlib.ExitStack() as stack:
        servers = {kind: stack.enter_context(running(Peer(kind, each))) for kind, each in commands.items()}
        for _ in range(rounds + 1):  # the first warms up
            for kind, (port, pid) in servers.items():
                began = cpu(pid)
                rate = client("-m", "benchmarks.smtp", "send", str(port), str(SECONDS))
                found[kind].append((cpu(pid) - began) / (rate * SECONDS) * 1000)
    medians = {kind: statistics.median(each[1:]) for kind, each in found.items()}
    for kind, median in medians.items():
        print(f"  {kind:<12}{median:>8.3f}{median / medians['plain']:>8.2f}", flush=True)


def _command(kind: str, port: int) -> list[str]:
    return python("-m", "benchmarks.smtp_cpu", "serve", kind, str(port))


def _inbox_command(kind: str, port: int) -> list[str]:
    return python("-m", "benchmarks.inbox_apps", "smtp", kind, str(port))


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(sys.argv[2], int(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 3 if parser.parse_args().quick else 7
    large(rounds)
    small(rounds)


if __name__ == "__main__":
    main()
