"""One arrival, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that arrived, or was tried again from the store, or left; and its outcome. Without its content."""

    time: float
    """When the application got it, in seconds since 1970."""
    type: str
    """The scope type."""
    event: str
    """The type of the event that brought it: ``http.request``, ``mqtt.connect``, ``mqtt.receive``,
    ``websocket.disconnect``. What leaves by the outbox has that of its own: ``email.send``."""
    server: str
    """The name of its server in gateway.yaml."""
    id: str
    """The event id; empty if it has none."""
    who: str
    """Its sender: an address, a number, a client identifier."""
    what: str
    """To whom, or for what: ``GET /orders/``, a recipient, a topic."""
    route: str
    """The pattern of the route that took it; empty if none did."""
    target: str
    """The application of that route, as the file names it; empty if no route took it."""
    verdict: str
    """In a word or two: ``200``, ``accepted``, ``rejected, 550``, ``stored``, ``next in 30 s``."""
    seconds: float
    """From ``time`` to the verdict."""
    error: str = ""
    """The error of a handler that failed, on one line: ``KeyError 'order'``."""
    size: int | None = None
    """Bytes of the message, or of the body of an HTTP response; None if they were not counted."""
    user_agent: str = ""
    """The client's program, as it calls itself."""
    address: str = ""
    """The address of the other side, without the port; ``unix`` for a Unix socket, and empty if there is no
    connection."""
    attempt: int = 0
    """The number of the attempt at a stored item; 0 for what arrives."""
    traceback: str = field(default="", repr=False, compare=False)
    """Where a handler failed, if somebody listens who asked for the ``content``."""
    scope: Any = field(default=None, repr=False, compare=False)
    """The scope that the application got. It has what a peer sent, secrets too: do not show it."""
    events: Sequence[Any] | None = field(default=(), repr=False, compare=False)
    """The events that the application received until then, if somebody listens who asked for the ``content``. None:
    they are too large to be kept."""

    def facts(self) -> dict[str, Any]:
        """Return all that may be shown: everything but the scope, the events and the traceback."""
        return {name: getattr(self, name) for name in _FACTS}


_FACTS = [name for name in Arrival.__slots__ if name not in ("scope", "events", "traceback")]
