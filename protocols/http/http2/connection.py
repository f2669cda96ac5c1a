"""A connection that speaks HTTP/1.1 or HTTP/2: what its client has chosen by ALPN, or by its first bytes."""

import asyncio

from protocols.http.channel import Hold
from protocols.http.connection import HTTPConnection, Runs
from protocols.http.http2.exchange import StreamExchange, StreamWebSocket
from protocols.http.http2.gate import PREFACE
from protocols.http.http2.session import Session
from protocols.http.http2.stream import Stream
from protocols.http.request import Request
from protocols.http.service import HTTPService


class HTTP2Connection(HTTPConnection):
    """Under TLS, ALPN decides. Without it, a client that knows beforehand begins with HTTP/2's preface."""

    __slots__ = ("_first", "_session")

    def __init__(self, service: HTTPService, runs: Runs) -> None:
        super().__init__(service, runs)
        self._first: bytes | None = b""
        """The first bytes, as long as they may be the preface. None: it is known what the peer speaks."""
        self._session: Session | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self._first = None
            if tls.selected_alpn_protocol() == "h2" and self.connected:
                self._speak_http2()

    def data_received(self, data: bytes) -> None:
        if self._first is not None:
            data, self._first = self._first + data, None
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._first = data
                return
            if data.startswith(PREFACE) and self.connected:
                self._speak_http2()
        super().data_received(data)

    def _speak_http2(self) -> None:
        self._session = session = Session(self, _run)
        self._exchange = session
        self.become_raw(session)
        session.begin()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._session is not None:  # the circles of references end here
            self._session.core.close()
            self._session = self._exchange = self._raw = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._session is not None:  # its answers to PING and SETTINGS would fill the memory
            self.hold(Hold.REQUESTS)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._session is not None:
            self.let(Hold.REQUESTS)
            self._session.resume()

    def retire(self) -> None:
        if self._session is None:
            super().retire()
        else:
            self._session.retire()

    def finish(self) -> None:
        if self._session is None:
            super().finish()
        else:
            self._session.finish()


def _run(stream: Stream, request: Request) -> StreamExchange:
    return (StreamWebSocket if request.upgrades else StreamExchange)(stream, request)
