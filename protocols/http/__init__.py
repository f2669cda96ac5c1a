"""HTTP/1.1 and WebSocket, on aiohttp's low-level server.

``HTTPServer`` (server.py) listens. A ``HTTPConnection`` reads requests and makes of each an ``Exchange`` (one ``http``
scope), or a ``WebSocket`` (one ``websocket`` scope), which is an exchange that may be answered 101. What connections
share, and how they are drained, is the ``HTTPService``. ``head.py`` turns response heads into bytes and is pure.
"""
