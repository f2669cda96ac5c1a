"""The head of a request, as tests write it: a path with its query, and headers as pairs or as a dict."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from gateway.consumers.header_fields import header_fields
from protocols.asgi import HostPort, HTTPScope
from protocols.http.scope import TRAILERS, extensions_of, http_scope, reads_trailers

HOST = "testserver"
"""The name of the server, which Django allows in its tests."""
CLIENT: HostPort = ("127.0.0.1", 50000)
SERVER: HostPort = ("127.0.0.1", 80)

Text: TypeAlias = str | bytes
Headers: TypeAlias = Mapping[str, Text] | Iterable[tuple[Text, Text]] | None


def pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    """``headers`` as a server has them: bytes, names in lower case."""
    given = headers.items() if isinstance(headers, Mapping) else headers or ()
    return [(_bytes(name).lower(), _bytes(value)) for name, value in given]


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def request_scope(
    method: str, path: str, headers: Headers, own: Iterable[tuple[str, str]] = (), root_path: str = ""
) -> HTTPScope:
    """The scope of a request, as our server makes it. ``own``: fields that a client adds unless they are given.
    ``root_path`` is the setting of the server."""
    if not isinstance(path, str):
        raise TypeError(f"the path is {type(path).__name__}; write text, such as /chat/")
    given = pairs(header_fields("request", headers or ()))
    names = {name for name, _ in given}
    added = [field for field in pairs([("host", HOST), *own]) if field[0] not in names]
    return http_scope(
        method.upper(),
        (quote(path, safe="/?&=:@!$'()*+,;%~-._[]") or "/").encode(),
        [*added, *given],
        listener="http",
        http_version="1.1",
        scheme="http",
        root_path=root_path,
        state={},
        extensions=extensions_of(pathsend=False) | (TRAILERS if reads_trailers(given) else {}),
        client=CLIENT,
        server=SERVER,
    )


def as_json(content: Any) -> bytes:
    return json.dumps(content, allow_nan=False).encode()
