"""The opening handshake of a WebSocket (RFC 6455, 4.2). Pure."""

import base64
import binascii
import hashlib

from protocols.http.request import Refusal, Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"sec-websocket-key"
_VERSION = b"sec-websocket-version"


def refusal_of(request: Request) -> Refusal | None:
    """Return the answer to a request for a WebSocket that breaks the rules, or None."""
    if request.body is not None:  # otherwise a proxy could take for a body what we take for frames
        return Refusal(400, "its WebSocket handshake has a body")
    if request.version != "1.1":
        return Refusal(400, "its WebSocket handshake is in HTTP/1.0")
    if (refusal := version_refusal(request)) is not None:
        return refusal
    if _count(request, _KEY) > 1:  # RFC 6455, 11.3.1
        return Refusal(400, "it has more than one Sec-WebSocket-Key")
    if not _is_key(request.header(_KEY)):
        return Refusal(400, "its Sec-WebSocket-Key is not 16 bytes in base64")
    return None


def version_refusal(request: Request) -> Refusal | None:
    """Return the answer to a request for a WebSocket of another version than 13, or of several, or None."""
    if _count(request, _VERSION) > 1:  # RFC 6455, 11.3.5
        return Refusal(400, "it has more than one Sec-WebSocket-Version")
    return None if request.header(_VERSION) == b"13" else Refusal(426, "its version of WebSocket is not 13")


def _count(request: Request, name: bytes) -> int:
    return sum(key == name for key, _ in request.headers)


def accept_key(request: Request) -> bytes:
    """Return the value of Sec-WebSocket-Accept."""
    key = request.header(_KEY) or b""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _is_key(key: bytes | None) -> bool:
    try:
        return key is not None and len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
