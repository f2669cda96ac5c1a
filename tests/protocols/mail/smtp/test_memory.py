"""A large mail takes its own size in memory, not several times that, and the budget counts what is held."""

import asyncio
import tracemalloc
from typing import Any

from smtp_peer import ENVELOPE, peer_of, serving

from protocols.mail.run import deliver
from protocols.mail.scope import email_scope
from protocols.mail.smtp.data import Content, MessageBuffer

SIZE = 20 * 2**20
PIECE = 256 * 1024
LINE = b"QUJD" * 19 + b"\r\n"


def peak(began: int) -> float:
    return (tracemalloc.get_traced_memory()[1] - began) / SIZE


async def test_a_large_mail_takes_its_own_size_for_an_application_that_keeps_nothing() -> None:
    piece = (LINE * (PIECE // len(LINE) + 1))[:PIECE]
    taken = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        more = True
        while more:
            event = await receive()
            taken, more = taken + len(event["body"]), event["more_body"]

    tracemalloc.start()
    try:
        began = tracemalloc.get_traced_memory()[0]
        buffer = MessageBuffer(2 * SIZE, 2**20, b"Received: x\r\n")
        content = Content(buffer)
        for _ in range(SIZE // PIECE):
            content.feed(bytes(bytearray(piece)))  # bytes of its own, as a transport gives them
        assert content.feed(b"\r\n.\r\n") == b""
        message = buffer.take()
        envelope: Any = {"transport": "smtp", "listener": "mail", "mail_from": "", "rcpt_to": ["b@x.org"]}
        scope = email_scope(message, received_at=0.0, state={}, **envelope)
        await deliver(app, scope, message, timeout=30.0)
        del message
        assert peak(began) < 1.2
        assert tracemalloc.get_traced_memory()[0] - began < SIZE / 10  # nothing is left of it
    finally:
        tracemalloc.stop()
    assert taken > SIZE


async def test_the_budget_counts_what_is_held_until_the_handler_has_ended() -> None:
    counted: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        event = await receive()
        await asyncio.sleep(0)
        counted.append(server.buffered.used - len(event["body"]))

    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(LINE * 20_000 + b".\r\n", ENVELOPE)).startswith("250 ")
        assert server.buffered.used == 0
    assert counted[0] > -1000  # but for the trace header
