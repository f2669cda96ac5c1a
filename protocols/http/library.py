"""aiohttp's reader and writer of WebSocket frames.

They are imported without the package, which imports its client as well. That reads the certificates of all authorities:
a tenth of a second and seven megabytes.
"""

from protocols.bare_package import bare_package

with bare_package("aiohttp"):
    from aiohttp._websocket.reader import WebSocketDataQueue
    from aiohttp.http_websocket import (
        WebSocketError,
        WebSocketReader,
        WebSocketWriter,
        ws_ext_gen,
        ws_ext_parse,
    )

__all__ = [
    "WebSocketDataQueue",
    "WebSocketError",
    "WebSocketReader",
    "WebSocketWriter",
    "ws_ext_gen",
    "ws_ext_parse",
]
