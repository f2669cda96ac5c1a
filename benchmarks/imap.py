"""Row 10: a mailbox on a real Dovecot, drained to an async consumer, each message marked \\Seen only after its handler.

10,000 messages (``--quick``: 2,000). The peer is what one writes with aioimaplib: fetch one, handle it, mark it.
"""

import argparse
import asyncio
import logging
import subprocess
import sys
import time
from pathlib import Path

import aioimaplib
import uvloop

from benchmarks.side_by_side import options_of, python, report
from protocols.asgi import Receive, Scope, Send
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from servers.dovecot import PASSWORD, PROGRAM, USER, Dovecot, dovecot

MESSAGES, QUICK_MESSAGES = 10_000, 2_000
LINE = b"x" * 62 + b"\r\n"
MESSAGE = b"Subject: hello\r\nFrom: a@x.org\r\nTo: b@x.org\r\n\r\n" + LINE * 15
CLIENTS = {"ours": "drain", "aioimaplib one by one": "drain-one-by-one"}


class Consumer:
    def __init__(self) -> None:
        self.handled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        self.handled += 1


async def drain(port: int, messages: int) -> None:
    consumer = Consumer()
    settings = IMAPSettings(
        host="127.0.0.1", port=port, tls=False, username=USER, password=Secret(PASSWORD), on_accept="seen"
    )
    async with IMAPReader(consumer, settings, state={}) as reader:
        while consumer.handled < messages or reader.active():  # noqa: ASYNC110 -- plain numbers
            await asyncio.sleep(0.002)  # active: until the last ones are marked


async def drain_one_by_one(port: int, messages: int) -> None:
    server = aioimaplib.IMAP4("127.0.0.1", port)
    await server.wait_hello_from_server()
    await server.login(USER, PASSWORD)
    await server.select("INBOX")
    found = await server.uid_search("UNSEEN", charset=None)
    for uid in found.lines[0].decode().split():
        fetched = await server.uid("fetch", uid, "(UID BODY.PEEK[])")
        await handle(bytes(fetched.lines[1]))
        await server.uid("store", uid, "+FLAGS.SILENT", "(\\Seen)")
    await server.logout()


async def handle(message: bytes) -> None:
    """A consumer that has nothing to wait for."""
    assert len(message) >= len(MESSAGE)


def measure(server: Dovecot, command: str, messages: int) -> tuple[float, float]:
    """Messages per second of one client, from its first connection to its last mark, and the milliseconds of CPU that
    it takes for 1,000. None may be left out."""
    with server.program() as program:
        program.select()
        program.store("1:*", "-FLAGS.SILENT", "\\Seen")
    arguments = python("-m", "benchmarks.imap", command, str(server.port), str(messages))
    rate, cpu = map(float, subprocess.run(arguments, stdout=subprocess.PIPE, check=True, text=True).stdout.split())
    with server.program() as program:
        program.select()
        if program.search(None, "UNSEEN")[1] != [b""]:
            raise SystemExit(f"{command}: not all messages are marked")
    return rate, cpu


def compare(title: str) -> None:
    options = options_of(title)
    if not PROGRAM:
        raise SystemExit("Dovecot is not installed: make peers")
    messages = QUICK_MESSAGES if options.quick else MESSAGES
    rates: dict[str, list[float]] = {name: [] for name in CLIENTS}
    costs: dict[str, list[float]] = {name: [] for name in CLIENTS}
    with dovecot() as server:
        server.append(*[MESSAGE] * messages)
        for _ in range(options.rounds):
            for name, command in CLIENTS.items():
                rate, cpu = measure(server, command, messages)
                rates[name].append(rate)
                costs[name].append(cpu)
    report(f"{title}, {messages:,} messages", "CPU ms for 1,000 messages, less is better", costs)
    report(f"{title}, {messages:,} messages", "messages/s", rates)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        compare("IMAP, drained to an async consumer, each marked seen after it")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=CLIENTS.values())
    parser.add_argument("port", type=int)
    parser.add_argument("messages", type=int)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    started, busy = time.perf_counter(), time.process_time()
    uvloop.run({"drain": drain, "drain-one-by-one": drain_one_by_one}[given.role](given.port, given.messages))
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    print(given.messages / seconds, cpu * 1e6 / given.messages)


if __name__ == "__main__":
    main()
