"""The parts of aiohttp that the server is made of.

They are imported without the package, which imports its client as well. That reads the certificates of all authorities:
a tenth of a second and seven megabytes.
"""

from protocols.bare_package import bare_package

with bare_package("aiohttp"):
    from aiohttp._websocket.reader import WebSocketDataQueue
    from aiohttp.hdrs import TRANSFER_ENCODING
    from aiohttp.http import HttpRequestParser, HttpVersion10, HttpVersion11, RawRequestMessage
    from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
    from aiohttp.http_websocket import (
        WS_KEY,
        WebSocketError,
        WebSocketReader,
        WebSocketWriter,
        ws_ext_gen,
        ws_ext_parse,
    )
    from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
    from aiohttp.web_protocol import RequestHandler, RequestPayloadError
    from aiohttp.web_server import Server as Manager

__all__ = [
    "EMPTY_PAYLOAD",
    "TRANSFER_ENCODING",
    "WS_KEY",
    "BadHttpMessage",
    "HttpRequestParser",
    "HttpVersion10",
    "HttpVersion11",
    "LineTooLong",
    "Manager",
    "RawRequestMessage",
    "RequestHandler",
    "RequestPayloadError",
    "StreamReader",
    "WebSocketDataQueue",
    "WebSocketError",
    "WebSocketReader",
    "WebSocketWriter",
    "ws_ext_gen",
    "ws_ext_parse",
]
