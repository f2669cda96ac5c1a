"""Opening a mailbox of 100,000 messages on a real Dovecot: seconds until the first message is handled.

``--quick``: 20,000. The peer is what one writes with aioimaplib: search, and fetch the first.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import time
from pathlib import Path

import aioimaplib
import uvloop

from benchmarks.imap import MESSAGE
from benchmarks.side_by_side import client, options_of
from protocols.asgi import Receive, Scope, Send
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.secret import Secret

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from servers.dovecot import PASSWORD, PROGRAM, USER, Dovecot, dovecot

MESSAGES, QUICK_MESSAGES = 100_000, 20_000
CLIENTS = {"ours": "open", "aioimaplib": "open-by-hand"}


async def open_mailbox(port: int) -> None:
    first = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        first.set()
        await asyncio.Event().wait()

    settings = IMAPSettings(
        host="127.0.0.1", port=port, tls=False, username=USER, password=Secret(PASSWORD), on_accept="seen"
    )
    reader = IMAPReader(app, settings, state={})
    await reader.start()
    await first.wait()
    await reader.stop(0)


async def open_by_hand(port: int) -> None:
    server = aioimaplib.IMAP4("127.0.0.1", port)
    await server.wait_hello_from_server()
    await server.login(USER, PASSWORD)
    await server.select("INBOX")
    found = await server.uid_search("UNSEEN", charset=None)
    await server.uid("fetch", found.lines[0].decode().split()[0], "(UID BODY.PEEK[])")


def fill(server: Dovecot, messages: int) -> None:
    """Put files where Dovecot finds them: to append them one by one takes minutes."""
    folder = server.root / "mail" / USER / "Maildir"
    server.append(MESSAGE)
    one = next((folder / "cur").iterdir(), None) or next((folder / "new").iterdir())
    for number in range(messages - 1):
        path = folder / "cur" / f"{1_700_000_000 + number}.M{number}.host,S={len(MESSAGE)}:2,"
        path.write_bytes(MESSAGE)
        shutil.chown(path, one.owner(), one.group())
    if server.count() != messages:
        raise SystemExit("Dovecot does not see all messages")


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        compare("IMAP, a mailbox is opened")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=CLIENTS.values())
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    started = time.perf_counter()
    uvloop.run({"open": open_mailbox, "open-by-hand": open_by_hand}[given.role](given.port))
    print(time.perf_counter() - started)


def compare(title: str) -> None:
    options = options_of(title)
    if not PROGRAM:
        raise SystemExit("Dovecot is not installed: make peers")
    messages = QUICK_MESSAGES if options.quick else MESSAGES
    with dovecot() as server:
        fill(server, messages)
        seconds = {
            name: [client("-m", "benchmarks.imap_large", role, str(server.port)) for _ in range(options.rounds)]
            for name, role in CLIENTS.items()
        }
    print(f"{title}, {messages:,} messages, seconds until the first is handled, less is better")
    for name, each in seconds.items():
        print(f"  {name:<28}{sorted(each)[len(each) // 2]:>8.2f}   ({min(each):.2f} - {max(each):.2f})")


if __name__ == "__main__":
    main()
