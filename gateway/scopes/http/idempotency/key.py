"""Finds the key of a request, and what a repetition has to have in common with the first one. Pure."""

import hashlib
from collections.abc import Iterable

from gateway.delivery.deduplication import digest
from protocols.asgi import HTTPScope
from protocols.errors import RemoteProtocolError

HEADER = b"idempotency-key"
LONGEST = 255
"""Characters of a key."""


def key_in(scope: HTTPScope) -> str | None:
    """Return the request's key: a text in quotes, as the draft of the field has it, or without them, as most clients
    write it. None if there is none. Raises RemoteProtocolError."""
    found = [value for name, value in scope["headers"] if name == HEADER]
    if not found:
        return None
    text = found[0].decode("latin-1").strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(found) > 1 or not text or len(text) > LONGEST or not (text.isascii() and text.isprintable()) or '"' in text:
        raise RemoteProtocolError(f"its Idempotency-Key is not one text of 1 to {LONGEST} characters", answer=400)
    return text


def name_of(scope: HTTPScope, key: str, client: Iterable[str]) -> str:
    """Return the name of ``key`` in the store. Each client has its own, and each path."""
    told = {name.lower().encode() for name in client}
    fields = sorted((name, value) for name, value in scope["headers"] if name in told)
    tls = (scope.get("extensions") or {}).get("tls") or {}
    return digest("http-once", [scope["method"], scope["path"], key, fields, tls.get("client_cert_name")])


def content_of(scope: HTTPScope, body: bytes) -> str:
    """Return a digest of what the request says beside its key."""
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return hashlib.sha256(repr((scope["query_string"], kind, hashlib.sha256(body).digest())).encode()).hexdigest()
