"""HTTP/1.1 and WebSocket, on aiohttp's low-level server.

``HTTPServer`` (server.py) listens. An ``HTTPConnection`` reads requests. Each of them becomes an ``Exchange`` (one
``http`` scope) or a ``WebSocket`` (one ``websocket`` scope), which is an exchange that may be answered 101. The
``HTTPService`` holds what the connections share, and drains them. Two modules are pure: ``events.py`` says what an
application may send when, and ``head.py`` turns response heads into bytes.
"""
