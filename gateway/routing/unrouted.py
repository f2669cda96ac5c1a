"""Answers a scope that no route takes: with its protocol's own "no such place"."""

from typing import Any

from gateway.scope_kinds import scope_kinds
from protocols.asgi import Receive, Send


async def refuse(scope: Any, receive: Receive, send: Send) -> None:
    """Answer ``scope`` with its protocol's refusal. Raises LookupError for a scope type that nobody knows here."""
    kind = scope_kinds().get(scope["type"])
    if kind is None:
        raise LookupError(f"no application for the scope type {scope['type']!r}")
    for event in kind.refusal:
        await send(dict(event))
