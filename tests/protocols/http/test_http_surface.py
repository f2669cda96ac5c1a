"""What aiohttp's RequestHandler asks of our exchange, and we of it. A new aiohttp that asks for more fails here."""

import asyncio
import sys
from typing import Any

import pytest
from aiohttp.web_protocol import RequestHandler
from contract import connect
from http_peer import GET, Recorder, ask, read_answer, serving
from waiting import until

from protocols.http import server as server_module
from protocols.http.exchange import Exchange
from protocols.http.websocket import WebSocket

OF_THE_EXCHANGE = {"_cancel"}
OF_THE_PARSER = {"feed_data", "feed_eof"}
OF_THE_HANDLER = {
    "_buffer_paused",
    "_close",
    "_current_request",
    "_drain_helper",
    "_drain_waiter",
    "_keepalive_handle",
    "_keepalive_timeout",
    "_loop",
    "_messages",
    "_next_keepalive_close_time",
    "_parser",
    "_pause_reading_for_buffer",
    "_paused",
    "_process_keepalive",
    "_read_bufsize",
    "_resume_reading_for_buffer",
    "_resume_transport_reading",
    "_upgraded",
    "connected",
    "force_close",
    "keep_alive",
    "pause_reading",
    "resume_reading",
    "set_parser",
    "start",
    "transport",
    "writing_paused",
}


def recording(base: type[Exchange], seen: set[str]) -> type[Exchange]:
    """``base``, which notes each of its names that a module of aiohttp reads or writes."""

    def note(name: str) -> None:
        if sys._getframe(2).f_globals["__name__"].startswith("aiohttp."):
            seen.add(name)

    class Recording(base):  # type: ignore[valid-type]
        def __getattribute__(self, name: str) -> Any:
            note(name)
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            note(name)
            super().__setattr__(name, value)

    return Recording


async def test_nothing_but_the_surface_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(server_module, "Exchange", recording(Exchange, seen))
    monkeypatch.setattr(server_module, "WebSocket", recording(WebSocket, seen))
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await receive()
        else:
            await Recorder()(scope, receive, send)

    async with serving(app) as server:
        await ask(server, GET * 3)
        await ask(server, b"nonsense\r\n\r\n")
        await ask(server, upgrade + b"\r\n" + GET)
        await ask(server, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        half = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        for data in (half, upgrade + b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"):
            reader, writer = await connect(server.address)
            writer.write(data)
            if data.startswith(b"GET"):
                assert (await read_answer(reader)).status == 101
                writer.write(b"\x81\x80\0\0\0\0")
            await asyncio.sleep(0.05)
            writer.close()
        await until(lambda: seen >= OF_THE_EXCHANGE | OF_THE_PARSER)
    assert seen == OF_THE_EXCHANGE | OF_THE_PARSER


def test_what_we_ask_of_the_handler_is_there() -> None:
    assert {name for name in OF_THE_HANDLER if not hasattr(RequestHandler, name)} == set()
