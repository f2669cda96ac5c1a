"""HTTP/1.1 and WebSocket on aiohttp's low-level server. From the socket to the application:

``connection``   one connection: aiohttp's RequestHandler with our answers to errors, our write stall and our drain
``exchange``     one request and its response: the ``http`` scope
``websocket``    one WebSocket: the ``websocket`` scope
``head``         the head of a response, as bytes, pure
``service``      what all connections share, and the drain
``server``       the listener and what it owns; ``settings`` and ``tls`` beside it
"""
