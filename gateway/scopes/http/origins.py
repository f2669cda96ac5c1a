"""Which pages may open a WebSocket.

A browser lets every page connect to every server, and sends the server's cookies with it. So the server has to look at
where the page is from (RFC 6455, 10.2), which the browser says in the field Origin.
"""

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from protocols.asgi import WebSocketScope

EVERY: Final = "*"
_NULL: Final = "null"
_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:*\[\]]+)(?::(\d{1,5}))?", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/?#@:*\[\]]+)(?::(\d{1,5}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_CREDENTIALS = frozenset({b"cookie", b"authorization"})
"""What a browser sends by itself to a server that it knows, whichever page asks."""


class Origin(NamedTuple):
    """The origin of a page (RFC 6454, 4). If it names no port, the port is the default of its scheme."""

    scheme: str
    host: str
    port: int | None


def parse_origin(text: str) -> Origin | None:
    """Parse what a browser sends, such as ``https://example.org:8443``; None: it is not a scheme, a host and a port."""
    if (match := _ORIGIN.fullmatch(text.lower())) is None:
        return None
    return Origin(match[1], match[2], int(match[3]) if match[3] else _PORTS.get(match[1]))


def parse_origins(value: object) -> tuple[str, ...]:
    """The setting ``origins``: ``*``, or a list of origins and ``null``. Raises ValueError."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(each, str) for each in texts):
        raise ValueError("must be '*' or a list of origins, such as [https://app.example.org]")
    for each in texts:
        if each not in (EVERY, _NULL) and (parse_origin(each) is None or not each.isascii()):
            raise ValueError(f"{each!r} is not an origin; write {_meant(each)}")
    if EVERY in texts and len(texts) > 1:
        raise ValueError("'*' allows every page; write it alone, or leave it out")
    return tuple(texts)


def _meant(text: str) -> str:
    """Return what to write instead of ``text``: an origin with a path, without its scheme, or with a pattern."""
    if "*" in text:
        return "each host by itself, as there are no patterns"
    scheme, colon, rest = text.partition("://")
    plain = (rest if colon else text).partition("/")[0]
    written = f"{scheme if colon else 'https'}://{plain}"
    return written if parse_origin(written) is not None and written.isascii() else "https://app.example.org, or null"


class Origins:
    """The pages that may connect: those of this server, and ``allowed`` ones.

    Without a list, pages of others are refused if the browser sends what identifies its user: a page that gets what
    anybody gets does no harm.
    """

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        self._is_for_all = allowed is not None and EVERY in allowed
        self._has_list = allowed is not None
        self._allows_null = allowed is not None and _NULL in allowed
        self._allowed = frozenset(map(parse_origin, allowed or ()))

    def refuses(self, scope: WebSocketScope) -> str:
        """Return the origin if its page may not connect; an empty text if it may, or if the client is not a page."""
        if self._is_for_all:
            return ""
        headers = scope["headers"]
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if not sent or (not self._has_list and not _is_known(scope)):
            return ""
        return "" if len(sent) == 1 and self._allow(sent[0], scope) else ", ".join(sent)

    def _allow(self, sent: str, scope: WebSocketScope) -> bool:
        if sent == _NULL:
            return self._allows_null
        origin = parse_origin(sent)
        return origin is not None and (origin in self._allowed or _is_own(origin, scope))


def _is_known(scope: WebSocketScope) -> bool:
    """Whether the server may know by the request whose browser it is."""
    if any(name in _CREDENTIALS for name, _ in scope["headers"]):
        return True
    return bool((scope.get("extensions") or {}).get("tls", {}).get("client_cert_chain"))


def _is_own(origin: Origin, scope: WebSocketScope) -> bool:
    """Whether a page is of this server, as its Host says.

    A server behind a proxy that ends TLS may not know that its own scheme is https. It takes both then.
    """
    if origin.scheme not in (("https",) if scope["scheme"] == "wss" else _PORTS):
        return False
    hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None:
        return False
    return (match[1], int(match[2]) if match[2] else _PORTS[origin.scheme]) == (origin.host, origin.port)
