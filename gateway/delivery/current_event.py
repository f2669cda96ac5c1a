"""The id of the message that is handled in this context."""

from contextvars import ContextVar
from typing import Any

from protocols.event_id import new_id

current_event: ContextVar[str] = ContextVar("current_event", default="")
"""The id of the message that is handled here. Log records carry it."""


def event_id(scope: Any) -> str:
    """The id that the server gave this message, or a new one."""
    given: str = scope["extensions"].get("event", {}).get("id", "")
    return given or new_id()
