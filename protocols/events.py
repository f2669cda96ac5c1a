"""Tools for the ``events`` module of each protocol: which event an application may send when, and what makes it valid.

Each module has a table, state -> event type -> next state, and a check for each event type. A check returns the event
with plain values and no other keys, so that a server can send it and a store can keep it; those of HTTP, of which
nothing is kept, return it as it is. A check raises LocalProtocolError, or KeyError for a missing key. An
:class:`~protocols.app_run.AppRun` over a live connection uses both, and so does an attempt from the store.
"""

from collections.abc import Callable, Mapping
from typing import Any

from protocols.errors import LocalProtocolError, OutOfOrder

Event = Mapping[str, Any]
Table = Mapping[str, Mapping[str, str]]
"""State -> type of an event that may be sent -> next state. The first state is the initial one."""
Check = Callable[[Any], Any]
Checks = Mapping[str, Check]
"""Event type -> its check."""
LONGEST_RETRY_AFTER = 86400.0
"""The most seconds for which an application can defer a message."""


def step(table: Table, checks: Checks, state: str, event: Any) -> tuple[str, Any]:
    """Return the state after ``event``, and the event as its check returns it. Raises LocalProtocolError."""
    kind = type_of(event)
    legal = table.get(state, {})
    if kind not in legal:
        raise illegal(kind, state, legal)
    return legal[kind], checked(checks, event)


def checked(checks: Checks, event: Any) -> Any:
    """Return ``event`` as its check returns it, in whatever state. Raises LocalProtocolError."""
    kind = type_of(event)
    if kind not in checks:
        raise LocalProtocolError(f"{kind!r} is not an event that an application sends")
    try:
        return checks[kind](event)
    except KeyError as error:
        raise missing(event, error) from error


def type_of(event: Any) -> str:
    """Return the type of ``event``. Raises LocalProtocolError if it is not an event at all."""
    if not isinstance(event, Mapping):
        raise LocalProtocolError(f"an event is a dict with a str under 'type', not {shown(event)}")
    kind = event.get("type")
    if not isinstance(kind, str):
        raise LocalProtocolError(f"an event is a dict with a str under 'type'; the type of this one is {shown(kind)}")
    return kind


def illegal(kind: str, state: str, legal: Mapping[str, Any]) -> OutOfOrder:
    words = ", ".join(legal) or "nothing more"
    return OutOfOrder(f"{kind!r} may not be sent now (state {state}); legal: {words}", state)


def missing(event: Event, error: KeyError) -> LocalProtocolError:
    return LocalProtocolError(f"{event['type']} needs the key {error}")


def waits(event: Event) -> bool:
    """Whether the application waits until its event is sent, and gets the error if it is not."""
    asked = event.get("wait", False)
    if not isinstance(asked, bool):
        raise wrong(event, "wait", "True or False")
    return asked


def wrong(event: Event, key: str, wanted: str) -> LocalProtocolError:
    """``email.reject: code is '550'; write an integer from 500 to 599``."""
    given = event.get(key)
    words = "a str" if isinstance(given, str) and key in _CONTENT else shown(given)
    return LocalProtocolError(f"{event['type']}: {key} is {words}; write {wanted}")


def as_bytes(event: Event, key: str) -> bytes:
    """Return the value of ``key`` as bytes. Raises LocalProtocolError unless it is bytes, bytearray or memoryview."""
    given = event[key]
    if not isinstance(given, bytes | bytearray | memoryview):
        raise wrong(event, key, "bytes")
    return bytes(given)


def one_line(event: Event, key: str) -> str:
    """Return the text of ``key`` on one line; empty if there is none. Raises LocalProtocolError if it is not text."""
    given = event.get(key)
    if given is None:
        return ""
    if isinstance(given, bytes | bytearray | int | float | list | tuple | dict):  # a lazy text is none of these
        raise wrong(event, key, "one line of text")
    return " ".join(str(given).split())


def retry_after(event: Event) -> float | None:
    """Return the ``retry_after`` of a defer event, limited to 0 to ``LONGEST_RETRY_AFTER``; None if it has none.

    Raises LocalProtocolError if it is not a number.
    """
    given = event.get("retry_after")
    if given is None:
        return None
    if not isinstance(given, int | float) or isinstance(given, bool) or given != given:
        raise wrong(event, "retry_after", "a number of seconds")
    return float(min(max(given, 0), LONGEST_RETRY_AFTER))


def utf8(event: Event, key: str) -> bytes:
    """Return the text of ``key``, encoded. Raises LocalProtocolError if it is not text, or has a lone surrogate."""
    try:
        encoded: bytes = event[key].encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise wrong(event, key, "text without lone surrogates") from error
    return encoded


_CONTENT = frozenset({"message", "text", "payload", "data", "body", "bytes", "reason"})
"""Keys whose values people write: those must not be logged."""


def shown(value: Any) -> str:
    """Show the beginning of a text, a number as it is, and only the type of anything else."""
    match value:
        case str():
            return repr(value[:40]) + ("..." if len(value) > 40 else "")
        case None | bool() | float():
            return repr(value)
        case int() if -(10**20) < value < 10**20:
            return repr(value)
        case _:
            return a_type(value)


def a_type(value: Any) -> str:
    """``a dict``, ``an int``, ``None``: what ``value`` is, without its content."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
