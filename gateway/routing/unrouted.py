"""What a scope is answered that no route takes: its protocol's own "no such place"."""

from typing import Any

from protocols.asgi import Receive, Send

_NOT_FOUND = b"Not Found\n"
_NOT_FOUND_HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(_NOT_FOUND)).encode()),
]
_REFUSALS: dict[str, list[dict[str, Any]]] = {
    "http": [
        {"type": "http.response.start", "status": 404, "headers": _NOT_FOUND_HEADERS},
        {"type": "http.response.body", "body": _NOT_FOUND},
    ],
    "websocket": [{"type": "websocket.close", "code": 4404}],
    "mqtt": [{"type": "mqtt.reject", "reason_code": 0x87}],
    "email": [{"type": "email.reject", "code": 550, "reason": "5.1.1 no such recipient here"}],
    "sms": [{"type": "sms.reject", "reason": "no route"}],
}


async def refuse(scope: Any, receive: Receive, send: Send) -> None:
    """Answer ``scope`` with its protocol's refusal. Raises LookupError for a scope type that has none."""
    if scope["type"] not in _REFUSALS:
        raise LookupError(f"no application for the scope type {scope['type']!r}")
    for event in _REFUSALS[scope["type"]]:
        await send(dict(event))
