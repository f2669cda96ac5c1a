"""Row 9: 1 KiB messages over 20 connections, to an asynchronous consumer; the peer is aiosmtpd with a null handler."""

import argparse
import asyncio
import sys
import time
from typing import cast

import uvloop
from aiosmtpd.smtp import SMTP

from benchmarks.side_by_side import Peer, client, compare, python
from protocols.asgi import Receive, Scope, Send
from protocols.mail.smtp.server import SMTPServer, SMTPSettings

CONNECTIONS = 20
LINE = b"x" * 62 + b"\r\n"
MESSAGE = b"Subject: hello\r\nMessage-ID: <%d.%d@x.org>\r\nFrom: a@x.org\r\n\r\n" + LINE * 15 + b".\r\n"


async def consumer(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "email.accept"})


class Null:
    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        return "250 OK"


async def serve_ours(port: int) -> None:
    async with SMTPServer(consumer, SMTPSettings(bind=f"127.0.0.1:{port}"), state={}):
        await asyncio.get_running_loop().create_future()


async def serve_bare(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Null(), hostname="x", loop=loop), "127.0.0.1", port)
    await server.serve_forever()


class Sender(asyncio.Protocol):
    """Sends messages one after another on one connection: the envelope in one write, the content after the 354."""

    def __init__(self) -> None:
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write
        self._answer = self._greeted

    def data_received(self, data: bytes) -> None:
        self._answer(data)

    def _greeted(self, data: bytes) -> None:
        self._answer = self._accepted
        self.sent = -1
        self._write(b"HELO x\r\n")

    def _accepted(self, data: bytes) -> None:
        assert data.startswith(b"250"), data
        self.sent += 1
        self._answer = self._invited
        self._write(b"MAIL FROM:<a@x.org>\r\nRCPT TO:<b@x.org>\r\nDATA\r\n")

    def _invited(self, data: bytes) -> None:
        if b"354 " in data:
            self._answer = self._accepted
            self._write(MESSAGE % (id(self), self.sent))  # no two alike: a repetition is no second message


async def send(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Sender, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    started, before = time.perf_counter(), sum(sender.sent for _, sender in opened)
    await asyncio.sleep(seconds)
    print((sum(sender.sent for _, sender in opened) - before) / (time.perf_counter() - started))
    for transport, _ in opened:
        transport.abort()


def _command(role: str, port: int, *more: str) -> list[str]:
    return python("-m", "benchmarks.smtp", role, str(port), *more)


PEERS = [
    Peer("ours", lambda port: _command("serve-ours", port)),
    Peer("aiosmtpd", lambda port: _command("serve-bare", port)),
]


def load(port: int, seconds: float) -> float:
    return client(*_command("send", port, str(seconds))[1:])


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        compare(f"SMTP, 1 KiB messages, {CONNECTIONS} connections", PEERS, load, unit="messages/s")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve-ours", "serve-bare", "send"])
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float, nargs="?", default=1.0)
    given = parser.parse_args()
    match given.role:
        case "serve-ours":
            uvloop.run(serve_ours(given.port))
        case "serve-bare":
            uvloop.run(serve_bare(given.port))
        case "send":
            uvloop.run(send(given.port, given.seconds))


if __name__ == "__main__":
    main()
