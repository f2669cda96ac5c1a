"""HTTP/2 (RFC 9113): an extra, with the library h2.

| file | has |
|---|---|
| ``connection`` | the choice between HTTP/1.1 and HTTP/2, by ALPN or by the first bytes |
| ``session`` | one connection in HTTP/2: frames to streams, and its end |
| ``stream`` | a stream, which carries one exchange: what waits for the peer's windows |
| ``exchange`` | the ASGI run of a request or a WebSocket on a stream |
| ``fields`` | header fields to a request, and a response's to header fields |
| ``gate``, ``allowance`` | frames are counted before h2 parses them; what a peer may do in a minute |
| ``library`` | all that is imported from h2 |
"""
