"""A large mail takes its own size in memory, not several times that, and the budget counts what is held."""

import asyncio
import tracemalloc
from typing import Any

import pytest
from smtp_peer import ENVELOPE, peer_of, serving

from protocols.mail.run import deliver
from protocols.mail.scope import email_scope
from protocols.mail.smtp.data import Chunks, Content, head, prepend

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
        chunks = Chunks(2 * SIZE, 2**20)
        content = Content(chunks)
        for _ in range(SIZE // PIECE):
            content.feed(bytes(bytearray(piece)))  # bytes of its own, as a transport gives them
        assert content.feed(b"\r\n.\r\n") == b""
        message = chunks.take()
        prepend(message, b"Received: x\r\n")
        envelope: Any = {"transport": "smtp", "listener": "mail", "mail_from": "", "rcpt_to": ["b@x.org"]}
        scope = email_scope(head(message), size=SIZE, received_at=0.0, state={}, **envelope)
        await deliver(app, scope, message, timeout=30.0)
        assert peak(began) < 1.2
        assert tracemalloc.get_traced_memory()[0] - began < SIZE / 10  # nothing is left of it
    finally:
        tracemalloc.stop()
    assert taken > SIZE


@pytest.mark.parametrize("keeps", ["each chunk", "all of them joined"])
async def test_the_budget_counts_what_is_held_until_the_handler_has_ended(keeps: str) -> None:
    """A complete message counts twice: an application that joins its chunks has it twice for that moment."""
    counted: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        chunks, more = [], True
        while more:
            event = await receive()
            chunks.append(event["body"])
            more = event["more_body"]
        held = sum(map(len, chunks)) + (len(b"".join(chunks)) if keeps == "all of them joined" else 0)
        await asyncio.sleep(0)
        counted.append(server.buffered.used - held)

    async with serving(app) as server, peer_of(server) as peer:
        assert (await peer.message(LINE * 20_000 + b".\r\n", ENVELOPE)).startswith("250 ")
        assert server.buffered.used == 0
    assert counted[0] > -1000  # but for the trace header
