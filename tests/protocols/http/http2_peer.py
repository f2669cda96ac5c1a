"""A client of HTTP/2: h2 without its checks, so that it also sends what no client may, and raw frames."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import h2.events
from contract import LIMIT, connect
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hyperframe.frame import Frame, GoAwayFrame

from protocols.http.server import HTTPServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = list[tuple[str, str]]


def request(method: str = "GET", path: str = "/", *more: tuple[str, str]) -> Fields:
    return [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path), *more]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame's bytes, whether it is valid or not."""
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


class Stream:
    """What came on one stream."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self.trailers: dict[str, str] = {}
        self.body = b""
        self.ended = False
        self.reset: str | None = None
        """The name of the error, if it was reset."""

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> str:
        return self.heads[-1][":status"]


class Peer:
    """One connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        options: Any = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="latin-1", **options))
        self.streams: dict[int, Stream] = {}
        self.goaways: list[tuple[str, int]] = []
        """The error and the last stream of each GOAWAY."""
        self.closed = False
        self.events: list[h2.events.Event] = []
        self.takes = True
        """Whether what has come is acknowledged, so that more may come."""
        self._rest = b""

    async def begin(self) -> None:
        self.h2.initiate_connection()
        self.flush()
        await self.until(lambda: self.seen(h2.events.SettingsAcknowledged))

    def seen(self, kind: type[h2.events.Event]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def raw(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def ask(self, fields: Fields | None = None, body: bytes | None = None, *, ends: bool = True) -> int:
        """Send a request; return the number of its stream."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, fields or request(), end_stream=body is None and ends)
        if body is not None:
            self.h2.send_data(number, body, end_stream=ends)
        self.streams[number] = Stream()
        self.flush()
        return number

    async def answer(self, number: int) -> Stream:
        await self.until(lambda: self.streams[number].is_over)
        return self.streams[number]

    async def get(self, path: str = "/", *more: tuple[str, str]) -> Stream:
        return await self.answer(self.ask(request("GET", path, *more)))

    async def until(self, look: Callable[[], Any]) -> None:
        """Read until ``look`` returns something true."""
        async with asyncio.timeout(4 * LIMIT):
            while not look():
                assert not self.closed, (self.goaways, "the server has closed")
                await self._read()

    async def until_closed(self) -> None:
        async with asyncio.timeout(4 * LIMIT):
            while not self.closed:
                await self._read()

    async def _read(self) -> None:
        try:
            data = await self.reader.read(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
            return
        for each in self._without_goaway(data):
            try:
                events = self.h2.receive_data(each)
            except ProtocolError:
                continue  # of a connection that this peer has spoiled
            for event in events:
                self._take(event)
        with contextlib.suppress(ConnectionError, RuntimeError):  # the test may have written its end
            self.flush()

    def _without_goaway(self, data: bytes) -> list[bytes]:
        """Whole frames; h2 would discard what it has to send at a GOAWAY."""
        self._rest += data
        frames = []
        while len(self._rest) >= 9:
            head, length = Frame.parse_frame_header(memoryview(self._rest[:9]))
            if len(self._rest) < 9 + length:
                break
            payload = self._rest[9 : 9 + length]
            if isinstance(head, GoAwayFrame):
                head.parse_body(memoryview(payload))
                self.goaways.append((ErrorCodes(head.error_code).name, head.last_stream_id))
            else:
                frames.append(self._rest[: 9 + length])
            self._rest = self._rest[9 + length :]
        return frames

    def _take(self, event: Any) -> None:
        self.events.append(event)
        stream = self.streams.setdefault(getattr(event, "stream_id", None) or 0, Stream())
        if isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived):
            stream.heads.append(dict(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data
            if self.takes and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = ErrorCodes(event.error_code).name


@contextlib.asynccontextmanager
async def peer(server: HTTPServer, *, begins: bool = True) -> AsyncIterator[Peer]:
    reader, writer = await connect(server.address)
    made = Peer(reader, writer)
    try:
        if begins:
            await made.begin()
        yield made
    finally:
        writer.close()
