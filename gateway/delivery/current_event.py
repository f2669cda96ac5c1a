"""The id of the message that is handled in this context."""

from contextvars import ContextVar
from typing import Any

from protocols.event_id import new_id, part_of

current_event: ContextVar[str] = ContextVar("current_event", default="")
"""The id of the message that is handled here. Log records carry it."""


def event_id(scope: Any) -> str:
    """The id that the server gave this message, or a new one. Groups of recipients that are delivered apart have ids of
    their own."""
    event = scope["extensions"].get("event", {})
    given: str = event.get("id", "")
    if given and "part" in event:
        return part_of(given, event["part"])
    return given or new_id()
