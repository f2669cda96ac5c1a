"""The application behind every server of the differential suite. Its answer depends on the path of the request.

It writes each run as a line of JSON to the file that $RUNS names: its scope, what it received, whether ``send`` raised.
A run is found by the ports of its connection, so those of several may be mixed. It begins with an empty line.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Send = Callable[[dict[str, Any]], Awaitable[None]]
_KEYS = (
    "type",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "subprotocols",
    "state",
)
WAIT = 3.0
"""Seconds for an event that must come."""


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(piece: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": more}


LENGTH_5 = (b"content-length", b"5")
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "/one_piece": [start(), body(b"hello")],
    "/with_a_length": [start(200, LENGTH_5), body(b"hello")],
    "/in_pieces": [start(), body(b"hel", more=True), body(b"lo")],
    "/in_pieces_with_a_length": [start(200, LENGTH_5), body(b"hel", more=True), body(b"lo")],
    "/an_empty_piece": [start(), body(b"", more=True), body(b"hello", more=True), body()],
    "/nothing": [start(), body()],
    "/no_body_key": [start(), {"type": "http.response.body"}],
    "/no_headers_key": [{"type": "http.response.start", "status": 200}, body(b"hello")],
    "/204": [start(204), body()],
    "/204_with_a_body": [start(204), body(b"hello")],
    "/304": [start(304, (b"etag", b'"a"')), body()],
    "/304_with_a_body": [start(304, (b"etag", b'"a"')), body(b"hello")],
    "/304_with_a_length": [start(304, LENGTH_5), body()],
    "/205": [start(205), body()],
    "/404": [start(404, (b"content-type", b"text/plain")), body(b"no")],
    "/500": [start(500), body(b"no")],
    "/599": [start(599), body(b"no")],
    "/two_cookies": [start(200, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x", b"y")), body(b"hello")],
    "/upper_case": [start(200, (b"X-Upper", b"Y")), body(b"hello")],
    "/latin_1": [start(200, (b"x-latin", b"caf\xe9")), body(b"hello")],
    "/an_empty_value": [start(200, (b"x-empty", b"")), body(b"hello")],
    "/close": [start(200, (b"connection", b"close")), body(b"hello")],
    "/close_in_a_list": [start(200, (b"connection", b"x-other, Close")), body(b"hello")],
    "/own_framing": [start(200, (b"transfer-encoding", b"chunked")), body(b"hello")],
    "/own_date": [start(200, (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")), body(b"hello")],
    "/too_short": [start(200, (b"content-length", b"9")), body(b"hello")],
    "/too_long": [start(200, (b"content-length", b"3")), body(b"hello")],
    "/a_line_break": [start(200, (b"x-a", b"b\r\nx-c: d")), body(b"hello")],
    "/status_100": [start(100), body()],
    "/no_such_event": [{"type": "http.no.such"}],
    "/body_first": [body(b"hello")],
    "/two_starts": [start(), start(), body(b"hello")],
    "/body_after_the_end": [start(), body(b"hello"), body(b"more")],
    "/only_a_start": [start()],
    "/only_a_piece": [start(), body(b"hello", more=True)],
    "/only_a_piece_with_a_length": [start(200, (b"content-length", b"9")), body(b"hello", more=True)],
    "/no_answer": [],
    "/str_headers": [{"type": "http.response.start", "status": 200, "headers": [("x-a", "b")]}, body(b"hello")],
}
CRASHES: dict[str, list[dict[str, Any]]] = {
    "/crash": [],
    "/crash_after_the_start": [start()],
    "/crash_in_the_body": [start(), body(b"hello", more=True)],
    "/crash_after_the_end": [start(), body(b"hello")],
}


class Run:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self._receive = receive
        self.send = send
        self.received: list[str] = []
        self.body = b""
        self.raised = False

    async def receive(self) -> Any:
        async with asyncio.timeout(WAIT):
            event = await self._receive()
        self.received.append(event["type"])
        return event

    async def read(self) -> None:
        """Read the whole body. However many pieces it comes in, it is one event for the record."""
        while (event := await self.receive())["type"] == "http.request":
            self.body += event.get("body", b"")
            if not event.get("more_body"):
                break
            self.received.pop()

    async def say(self, events: list[dict[str, Any]]) -> None:
        try:
            for event in events:
                await self.send(event)
        except Exception:
            self.raised = True
            raise

    def write(self) -> None:
        scope = {key: _text(self.scope[key]) for key in _KEYS if key in self.scope}
        scope["headers"] = [[_text(name), _text(value)] for name, value in self.scope["headers"]]
        line = {
            "ports": [int(self.scope[key][1]) for key in ("server", "client")],  # granian has text
            "scope": scope,
            "body": _text(self.body),
            "received": self.received,
            "raised": self.raised,
        }
        _add(json.dumps(line))


def _add(line: str) -> None:
    with Path(os.environ["RUNS"]).open("a") as file:
        file.write(f"{line}\n")


def _text(value: Any) -> Any:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray | memoryview) else value


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(scope, receive, send)
        return
    run = Run(scope, receive, send)
    _add("")
    try:
        await (_request(run) if scope["type"] == "http" else _websocket(run))
    finally:
        run.write()


async def _lifespan(scope: Any, receive: Any, send: Any) -> None:
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            if "state" in scope:
                scope["state"]["began"] = "yes"
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _request(run: Run) -> None:
    path = run.scope["path"].removeprefix("/app")
    if path == "/unread":
        await run.say([start(), body(b"hello")])
        return
    if path == "/first_piece":
        event = await run.receive()
        run.body = event.get("body", b"")[:1]
        await run.say([start(), body(b"hello")])
        return
    if path == "/until_it_leaves":
        await run.read()
        await run.say([start(), body(b"hello", more=True)])
        while (await run.receive())["type"] != "http.disconnect":
            run.received.pop()
        return
    await run.read()
    if path in CRASHES:
        await run.say(CRASHES[path])
        raise RuntimeError("as it is to be")
    await run.say(ANSWERS.get(path, ANSWERS["/one_piece"]))
    if path == "/then_disconnect":
        await run.receive()
        await run.receive()


async def _websocket(run: Run) -> None:
    path = run.scope["path"]
    await run.receive()
    if path == "/ws/crash":
        raise RuntimeError("as it is to be")
    if path == "/ws/return":
        return
    if path == "/ws/close":
        await run.say([{"type": "websocket.close", "code": 4000}])
        return
    offered = run.scope["subprotocols"]
    chosen = offered[0] if offered else None
    headers = [(b"x-a", b"b")] if path == "/ws/headers" else []
    await run.say([{"type": "websocket.accept", "subprotocol": chosen, "headers": headers}])
    if path == "/ws/crash_later":
        raise RuntimeError("as it is to be")
    if path == "/ws/close_later":
        await run.say([{"type": "websocket.close", "code": 4001, "reason": "enough"}])
        return
    while (event := await run.receive())["type"] == "websocket.receive":
        kind = "text" if event.get("text") is not None else "bytes"
        await run.say([{"type": "websocket.send", kind: event[kind]}])
    run.received.append(str(event.get("code")))
