"""The answer to a FETCH, whatever is in it and wherever the network cuts it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

import pytest

from protocols.mail.imap.connection import IMAPConnection
from protocols.mail.imap.library import RepairedProtocol

LIKE_AN_ANSWER = b"A: 1\r\n\r\n)\r\n* 9 FETCH (UID 9 BODY[] {3}\r\nabc)\r\nT9 OK done\r\n"
MESSAGES = {
    1: b"A: 1\r\n\r\nb\r\n",
    2: LIKE_AN_ANSWER,
    3: b"",
    4: b"",
    5: b"hello",
    6: b"Z",
    7: b"A: 7",
    9: b"last\r\n",
}
ANSWER = b"".join(
    [
        b'* 1 FETCH (UID 1 INTERNALDATE "29-Nov-2026 21:24:16 +0000" BODY[] {11}\r\nA: 1\r\n\r\nb\r\n)\r\n',
        b"* 2 FETCH (UID 2 BODY[] {%d}\r\n%b)\r\n" % (len(LIKE_AN_ANSWER), LIKE_AN_ANSWER),
        b"* 3 FETCH (UID 3 BODY[] {0}\r\n)\r\n",
        b"* 12 EXISTS\r\n",
        b'* 4 FETCH (UID 4 BODY[] "")\r\n',
        b"* 3 FETCH (FLAGS (\\Seen))\r\n",
        b"* 5 FETCH (BODY[] {5}\r\nhello UID 5 FLAGS (\\Seen))\r\n",
        b"* 6 FETCH (UID 6 BODY[] {1}\r\nZ X {2}\r\n)\r)\r\n",
        b'* 7 FETCH (UID 7 X "{4}" BODY[] {4}\r\nA: 7)\r\n',
        b"* 8 FETCH (UID 8 BODY[] NIL)\r\n",
        b"* 9 FETCH (UID 9 BODY[] {6}\r\nlast\r\n)\r\n",
    ]
)
LONG = b"* 1 FETCH (FLAGS (%b) UID 1 BODY[] {5}\r\nhello)\r\n" % (b" ".join(b"flag%d" % each for each in range(2000)))


class Server:
    """The far end of a connection, whose answers come in the pieces that it is told to send."""

    def __init__(self, protocol: RepairedProtocol, far: socket.socket) -> None:
        self.connection = IMAPConnection(protocol)
        self._protocol = protocol
        self._far = far

    async def answers(self, call: Coroutine[Any, Any, Any], *pieces: bytes) -> Any:
        """Return what ``call`` returns when its command is answered so; TAG stands for the command's tag."""
        task = asyncio.ensure_future(call)
        command = await asyncio.get_running_loop().sock_recv(self._far, 1000)
        for piece in pieces:
            self._protocol.data_received(piece.replace(b"TAG", command.split()[0]))
        return await task

    async def fetched(self, pieces: Iterable[bytes]) -> dict[int, bytes]:
        found = await self.answers(self.connection.fetch(range(1, 10), 10_000), *pieces, b"TAG OK done\r\n")
        return {message.uid: message.raw for message in found}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as near:
        far, _ = listening.accept()
        with far:
            far.setblocking(False)
            protocol = RepairedProtocol(20.0)
            await asyncio.get_running_loop().create_connection(lambda: protocol, sock=near)
            each = Server(protocol, far)
            protocol.data_received(b"* PREAUTH hello\r\n")
            await each.answers(protocol.greeted.wait(), b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n")
            await each.answers(each.connection.select("INBOX"), b"* OK [UIDVALIDITY 1]\r\nTAG OK done\r\n")
            yield each
            protocol.transport.abort()


async def test_an_answer_in_two_pieces(server: Server) -> None:
    for place in range(len(ANSWER) + 1):
        assert await server.fetched([ANSWER[:place], ANSWER[place:]]) == MESSAGES, place


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
async def test_an_answer_in_small_pieces(server: Server, size: int) -> None:
    assert await server.fetched(ANSWER[at : at + size] for at in range(0, len(ANSWER), size)) == MESSAGES


@pytest.mark.parametrize("size", [7, 4000, 100_000])
async def test_a_message_with_many_flags(server: Server, size: int) -> None:
    answer = LONG + ANSWER[ANSWER.index(b"* 2") :]
    pieces = (answer[at : at + size] for at in range(0, len(answer), size))
    assert await server.fetched(pieces) == {**MESSAGES, 1: b"hello"}


async def test_a_message_in_many_pieces_takes_no_time_for_each(server: Server) -> None:
    message = b"x" * 4_000_000
    answer = b"* 1 FETCH (UID 1 BODY[] {%d}\r\n%b)\r\n" % (len(message), message)
    pieces = (answer[at : at + 4096] for at in range(0, len(answer), 4096))
    found = await server.answers(server.connection.fetch([1], len(answer)), *pieces, b"TAG OK done\r\n")
    assert [each.raw for each in found] == [message]
