"""Makes the ``http`` scope of a request, and the ``websocket`` scope of an opening handshake."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from protocols.asgi import ASGIVersions, HostPort, HTTPScope, WebSocketScope

# Frameworks that read 2.4 here stop listening for http.disconnect (docs/decisions/0008).
_HTTP: ASGIVersions = {"version": "3.0", "spec_version": "2.3"}
_WEBSOCKET: ASGIVersions = {"version": "3.0", "spec_version": "2.4"}

Headers = list[tuple[bytes, bytes]]

_PERCENT = ord("%")
"""An int, because ``b"%" in path`` first raises and drops a TypeError, which is 2 % of a short request."""


def http_scope(
    method: str,
    target: bytes,
    headers: Headers,
    listener: str,
    http_version: str,
    scheme: str,
    root_path: str,
    client: HostPort | None,
    server: tuple[str, int | None] | None,
    state: dict[str, Any],
    extensions: dict[str, Any],
) -> HTTPScope:
    """The scope of a request for ``target``, a path with or without a query (RFC 9112, 3.2.1), or ``*``.

    Names in ``headers`` are in lower case. The scope gets shallow copies of ``state`` and ``extensions``."""
    raw_path, _, query = target.partition(b"?")
    path = (unquote_to_bytes(raw_path) if _PERCENT in raw_path else raw_path).decode("utf-8", "replace")
    if root_path:
        path, raw_path = root_path + path, root_path.encode() + raw_path
    return {
        "type": "http",
        "asgi": _HTTP,
        "listener": listener,
        "http_version": http_version,
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": extensions.copy(),
    }


def websocket_scope(handshake: HTTPScope, tls: Mapping[str, Any]) -> WebSocketScope:
    """The scope of the WebSocket that ``handshake`` asks for. ``tls`` has ASGI's extension of that name."""
    return {
        "type": "websocket",
        "asgi": _WEBSOCKET,
        "listener": handshake["listener"],
        "http_version": handshake["http_version"],
        "scheme": "ws" if handshake["scheme"] == "http" else "wss",
        "path": handshake["path"],
        "raw_path": handshake["raw_path"],
        "query_string": handshake["query_string"],
        "root_path": handshake["root_path"],
        "headers": handshake["headers"],
        "client": handshake["client"],
        "server": handshake["server"],
        "subprotocols": _subprotocols(handshake["headers"]),
        "state": handshake["state"],
        "extensions": {"websocket.http.response": {}, **tls},
    }


INTERIM: dict[str, Any] = {"http.response.early_hint": {}}
"""The extension of a scope whose peer knows interim responses, as all of HTTP/1.1 do."""
TRAILERS: dict[str, Any] = {"http.response.trailers": {}}
"""The extension of a scope whose peer reads trailers."""


def extensions_of(*, pathsend: bool) -> dict[str, Any]:
    """The extensions of every http scope of a server for HTTP/1.1, beside ``tls``."""
    return INTERIM | {"http.response.pathsend": {}} if pathsend else INTERIM.copy()


def reads_trailers(headers: Headers) -> bool:
    """Whether a peer that sends these fields reads trailers (RFC 9110, 10.1.4)."""
    return any(name == b"te" and b"trailers" in map(bytes.strip, value.lower().split(b",")) for name, value in headers)


def _subprotocols(headers: Any) -> list[str]:
    offered = [value.decode("utf-8", "surrogateescape") for name, value in headers if name == b"sec-websocket-protocol"]
    return [each for line in offered for each in map(str.strip, line.split(",")) if each]
