"""The contract of every server, kept by HTTP/2."""

import asyncio
import contextlib
from typing import Any

from contract import LIMIT, Outcome, SessionContract, connect
from http2_peer import PREFACE, Peer, frame, request
from test_http2_bad_input import CONNECTION
from test_http_contract import HTTPDriver

from protocols.http.server import HTTPServer, HTTPSettings


class HTTP2Driver(HTTPDriver):
    garbage = (
        PREFACE[:10],
        PREFACE + bytes(100),
        PREFACE + b"\xff" * 100,
        *(PREFACE + frame(4) + b"".join(frames) for frames, _ in CONNECTION.values()),
    )

    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> HTTPServer:
        return HTTPServer(app, HTTPSettings(bind=bind, http2=True), state=state)

    async def _peer(self, address: str) -> Peer:
        client = Peer(*await connect(address))
        client.h2.initiate_connection()
        client.flush()
        return client

    async def exchange(self, address: str) -> Outcome:
        client = await self._peer(address)
        try:
            answer = await client.answer(client.ask())
        except (AssertionError, ConnectionError, TimeoutError):
            return "failed"
        finally:
            client.writer.close()
        self.heard = b"%r %b" % (answer.heads, answer.body)
        return "done" if answer.body == b"done" else "failed"

    async def leave(self, address: str, running: asyncio.Event) -> None:
        client = await self._peer(address)
        client.ask(request("POST"), b"123", ends=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIMIT):
                await running.wait()
        client.writer.close()


class TestHTTP2Contract(SessionContract):
    driver_class = HTTP2Driver
