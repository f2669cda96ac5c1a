"""aiohttp's masking of WebSocket frames, which is compiled.

It is imported without the package, which imports its client as well. That reads the certificates of all authorities:
a tenth of a second and seven megabytes.
"""

from protocols.bare_package import bare_package

with bare_package("aiohttp"):
    from aiohttp._websocket.helpers import websocket_mask

__all__ = ["websocket_mask"]
