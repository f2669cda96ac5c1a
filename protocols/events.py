"""What the ``events`` module of each protocol has: which event an application may send when, and what makes it valid.

A table of what may follow what, state -> event type -> next state, and a check for each event type. A check returns the
event with plain values and nothing else in it, as a server can speak it and a store can keep it; it raises
LocalProtocolError, or KeyError for a key that is missing. An :class:`~protocols.app_run.AppRun` over a live
connection and an attempt from the store use the same two.
"""

from collections.abc import Callable, Mapping
from typing import Any

from protocols.errors import LocalProtocolError

Event = Mapping[str, Any]
Table = Mapping[str, Mapping[str, str]]
"""State -> type of the event that may be sent -> state that follows. The first state is that at the start."""
Check = Callable[[Any], Any]
Checks = Mapping[str, Check]
"""By event type."""


def step(table: Table, checks: Checks, state: str, event: Any) -> tuple[str, Any]:
    """The state after ``event``, and the event as its check returns it. Raises LocalProtocolError."""
    kind = type_of(event)
    legal = table.get(state, {})
    if kind not in legal:
        raise illegal(kind, state, legal)
    return legal[kind], checked(checks, event)


def checked(checks: Checks, event: Any) -> Any:
    """``event`` as its check returns it, whenever it is sent. Raises LocalProtocolError."""
    kind = type_of(event)
    if kind not in checks:
        raise LocalProtocolError(f"{kind!r} is not an event that an application sends")
    try:
        return checks[kind](event)
    except KeyError as error:
        raise missing(event, error) from error


def type_of(event: Any) -> str:
    """Raises LocalProtocolError where ``event`` is no event at all."""
    kind = event.get("type") if isinstance(event, Mapping) else None
    if not isinstance(kind, str):
        raise LocalProtocolError(f"an event is a dict with a text under 'type', not {_shown(event)}")
    return kind


def illegal(kind: str, state: str, legal: Mapping[str, Any]) -> LocalProtocolError:
    words = ", ".join(legal) or "nothing more"
    return LocalProtocolError(f"{kind!r} may not be sent now (state {state}); legal: {words}")


def missing(event: Event, error: KeyError) -> LocalProtocolError:
    return LocalProtocolError(f"{event['type']} needs the key {error}")


def waits(event: Event) -> bool:
    """Whether the application wants to hear whether what it sends has left."""
    asked = event.get("wait", False)
    if not isinstance(asked, bool):
        raise wrong(event, "wait", "True or False")
    return asked


def wrong(event: Event, key: str, wanted: str) -> LocalProtocolError:
    """``email.reject: code is '550'; write an integer from 500 to 599``."""
    given = event.get(key)
    shown = "a str" if isinstance(given, str) and key in _CONTENT else _shown(given)
    return LocalProtocolError(f"{event['type']}: {key} is {shown}; write {wanted}")


def as_bytes(event: Event, key: str) -> bytes:
    """What is under ``key`` as bytes. Raises LocalProtocolError where it is no bytes, bytearray or memoryview."""
    given = event[key]
    if not isinstance(given, bytes | bytearray | memoryview):
        raise wrong(event, key, "bytes")
    return bytes(given)


def utf8(event: Event, key: str) -> bytes:
    """The text under ``key``, encoded. Raises LocalProtocolError where it is no text, or half a character is in it."""
    try:
        encoded: bytes = event[key].encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise wrong(event, key, "text without lone surrogates") from error
    return encoded


_CONTENT = frozenset({"message", "text", "payload", "data", "body", "bytes", "reason"})
"""Keys of what people write, which is not for a log."""


def _shown(value: Any) -> str:
    """A text's beginning, a number as it is, and of anything else its type."""
    match value:
        case str():
            return repr(value[:40]) + ("..." if len(value) > 40 else "")
        case None | bool() | float():
            return repr(value)
        case int() if -(10**20) < value < 10**20:
            return repr(value)
        case _:
            return f"a {type(value).__name__}"
