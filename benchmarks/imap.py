"""Row 10: a mailbox on a real Dovecot, drained to an async consumer, each message marked \\Seen only after its handler.

The mailbox has 10,000 messages. The peer is what one writes with aioimaplib: fetch one, handle it, mark it. It takes as
long for the last message as for the first, so ``--quick`` lets it read a tenth of the mailbox. With a smaller mailbox
the time that it takes to connect would count more.

A client and Dovecot take turns, so the time that a message takes is the CPU time of both, where nothing else runs. The
rates of a busy machine favour the client with fewer turns.
"""

import argparse
import asyncio
import gc
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aioimaplib
import uvloop

from benchmarks.side_by_side import cpu, options_of, python, report
from protocols.asgi import Receive, Scope, Send
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

if TYPE_CHECKING:
    from servers.dovecot import Dovecot

MESSAGES = 10_000
LINE = b"x" * 62 + b"\r\n"
MESSAGE = b"Subject: hello\r\nFrom: a@x.org\r\nTo: b@x.org\r\n\r\n" + LINE * 15
USER, PASSWORD = "support@example.org", "secret"
CLIENTS = {"ours": "drain", "aioimaplib one by one": "drain-one-by-one"}
UNITS = (
    "CPU ms of client and Dovecot for 1,000 messages, less is better",
    "CPU ms of the client for 1,000 messages, less is better",
    "messages/s",
)


class Consumer:
    def __init__(self, messages: int) -> None:
        self._left = messages
        self.done = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        self._left -= 1
        if not self._left:
            self.done.set()


async def drain(port: int, messages: int) -> None:
    consumer = Consumer(messages)
    settings = IMAPSettings(
        host="127.0.0.1", port=port, tls=False, username=USER, password=Secret(PASSWORD), on_accept="seen"
    )
    async with IMAPReader(consumer, settings, state={}) as reader:
        await consumer.done.wait()
        while reader.active():  # noqa: ASYNC110 -- until the last ones are marked, of which nothing tells
            await asyncio.sleep(0.002)


async def drain_one_by_one(port: int, messages: int) -> None:
    server = aioimaplib.IMAP4("127.0.0.1", port)
    await server.wait_hello_from_server()
    await server.login(USER, PASSWORD)
    await server.select("INBOX")
    found = await server.uid_search("UNSEEN", charset=None)
    for uid in found.lines[0].decode().split()[:messages]:
        fetched = await server.uid("fetch", uid, "(UID BODY.PEEK[])")
        await handle(bytes(fetched.lines[1]))
        await server.uid("store", uid, "+FLAGS.SILENT", "(\\Seen)")
    await server.logout()


async def handle(message: bytes) -> None:
    """A consumer that has nothing to wait for."""
    assert len(message) >= len(MESSAGE)


def measure(server: "Dovecot", command: str, messages: int) -> tuple[float, float, float]:
    """Return the figures of one client, from its first connection to its last mark: CPU milliseconds of it and Dovecot
    for 1,000 messages, its own, and messages per second. None may be left out."""
    with server.program() as program:
        program.select()
        program.store("1:*", "-FLAGS.SILENT", "\\Seen")
    arguments, began = (
        python("-m", "benchmarks.imap", command, str(server.port), str(messages)),
        cpu(server.process.pid),
    )
    done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True, text=True)
    rate, own = map(float, done.stdout.split())
    both = own + (cpu(server.process.pid) - began) / messages * 1e6
    with server.program() as program:
        program.select()
        if len(program.search(None, "SEEN")[1][0].split()) != messages:
            raise SystemExit(f"{command}: not all messages are marked")
    return both, own, rate


def compare(title: str) -> None:
    options = options_of(title)
    # Not at the top, because it imports pytest, which the collector of the two clients would look at again and again.
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from servers.dovecot import PROGRAM, dovecot

    if not PROGRAM:
        raise SystemExit("Dovecot is not installed: make peers")
    numbers = dict(zip(CLIENTS, (MESSAGES, MESSAGES // 10 if options.quick else MESSAGES), strict=True))
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CLIENTS}
    with dovecot() as server:
        server.append(*[MESSAGE] * MESSAGES)
        for _ in range(options.rounds):
            for name, command in CLIENTS.items():
                found[name].append(measure(server, command, numbers[name]))
    for place, unit in enumerate(UNITS):
        report(title, unit, {name: [each[place] for each in rows] for name, rows in found.items()})


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        compare(f"IMAP, {MESSAGES:,} messages drained to an async consumer, each marked seen after it")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=CLIENTS.values())
    parser.add_argument("port", type=int)
    parser.add_argument("messages", type=int)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    gc.freeze()  # as the daemon does
    started, busy = time.perf_counter(), time.process_time()
    uvloop.run({"drain": drain, "drain-one-by-one": drain_one_by_one}[given.role](given.port, given.messages))
    seconds, own = time.perf_counter() - started, time.process_time() - busy
    print(given.messages / seconds, own * 1e6 / given.messages)


if __name__ == "__main__":
    main()
