"""What a connection leaves behind."""

import asyncio
import gc
import weakref
from typing import Any

from contract import connect
from http2_peer import peer, request
from http_peer import GET, Recorder, read_answer, serving
from waiting import until

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


async def test_a_lost_connection_is_freed_without_the_garbage_collector() -> None:
    async with serving(Recorder(body=b"x" * 100_000)) as server:
        for sent in (GET, POST + b"x" * 100_000, POST + b"x", b"nonsense\r\n\r\n", GET * 3):
            reader, writer = await connect(server.address)
            await until(lambda: server.service.connections)
            (connection,) = server.service.connections
            left = weakref.ref(_held(connection))
            del connection
            gc.disable()
            try:
                writer.write(sent)
                if not sent.endswith(b"\r\nx"):
                    await read_answer(reader)
                writer.transport.abort()
                await until(lambda: not server.service.connections and not server.active())
                await asyncio.sleep(0)
                await until(lambda left=left: left() is None)
            finally:
                gc.enable()


async def test_a_lost_connection_in_http_2_is_freed_without_the_garbage_collector() -> None:
    async with serving(Recorder(body=b"x" * 100_000), http2=True) as server:
        for method, body, ends in (("GET", None, True), ("POST", b"x", True), ("POST", b"x", False)):
            async with peer(server) as client:
                (connection,) = server.service.connections
                session: Any = connection._session  # type: ignore[attr-defined]
                left = [weakref.ref(each) for each in (session, session.core)]
                del connection, session
                gc.disable()
                try:
                    number = client.ask(request(method), body, ends=ends)
                    if ends:
                        await client.answer(number)
                    else:
                        await until(server.active)
                    client.writer.transport.abort()
                    await until(lambda: not server.service.connections and not server.active())
                    await until(lambda left=left: not any(each() for each in left))
                finally:
                    gc.enable()


def _held(connection: Any) -> Any:
    """The parser: the connection itself has no weak references."""
    return connection._parser
