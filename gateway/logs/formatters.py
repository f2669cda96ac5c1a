"""Formats log records, for people and for machines.

A record that a crash made carries its scope (``extra={"scope": scope}``) and the route in ``current_route``. No record
holds a message's body or a password: the scope is described by :func:`protocols.asgi.describe`, never printed whole.
"""

import contextlib
import linecache
import logging
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from gateway.arrivals import Arrival, arrivals
from gateway.consumers.failure import topic_of
from gateway.delivery.current_event import current_event
from gateway.frames import own_frame_of, short
from gateway.logs.arrivals import ArrivalLine
from gateway.logs.colours import DIM, RED, YELLOW, coloured
from gateway.logs.escaping import json_text, one_line, shortened
from gateway.logs.fields import FIELDS
from gateway.logs.stamps import Stamp, unstamped
from gateway.routing import current_route
from gateway.scope_kinds import scope_kinds
from gateway.spans import ids
from protocols.log_facts import PeerFacts
from protocols.units import TCP, UNIX_PEERS

LONGEST = FIELDS["message"].most
"""Characters of a message in the text form, with its escapes."""
_LEAST_BOUND = min(field.most for field in FIELDS.values())
_LEVELS = {"CRITICAL": RED, "ERROR": RED, "WARNING": YELLOW, "DEBUG": DIM}
Error = tuple[type[BaseException], BaseException, TracebackType | None]


def error_of(record: logging.LogRecord) -> Error | None:
    if not record.exc_info or record.exc_info[0] is None:
        return None
    kind, error, trace = record.exc_info
    assert error is not None
    return kind, error, trace


def sentence(error: BaseException) -> str:
    """Return the class and the message of ``error`` on one line: ``KeyError 'order'``."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__} {text}"[:500].rstrip()


class TextFormatter(logging.Formatter):
    """``ERROR 7f3a9c email ann@example.org -> tickets.Handler: KeyError 'order' (attempt 2 of 5, next in 30 s)``, then
    the line of the user's code. The id is there where the message has one."""

    def __init__(self, *, full: bool, stamp: Stamp = unstamped, colours: bool = False) -> None:
        super().__init__()
        self._full = full
        self._stamp = stamp
        self._colours = colours
        self._arrival = ArrivalLine(colours=colours)

    def format(self, record: logging.LogRecord) -> str:
        arrival = getattr(record, "arrival", None)
        if isinstance(arrival, Arrival):
            return self._coloured(self._stamp(arrival.time), DIM) + self._arrival.of(arrival)
        if hasattr(record, "is_whole"):
            return one_line(record.getMessage())
        level = self._coloured(f"{one_line(record.levelname):<7}", _LEVELS.get(record.levelname, ""))
        return f"{self._coloured(self._stamp(record.created), DIM)}{level} {self._said(record)}"

    def _coloured(self, text: str, colour: str) -> str:
        return coloured(text, colour) if self._colours else text

    def _said(self, record: logging.LogRecord) -> str:
        error = error_of(record)
        message = record.getMessage()
        if (topic := topic_of(error[1]) if error else "") and topic not in message:
            message += f" {topic}"
        if route := _route(record):
            message += f" -> {_target(route)}"
        if (event := current_event.get()) and event not in message:
            message = f"{event} {message}"
        flood = f" ({record.flood})" if hasattr(record, "flood") else ""
        head = shortened(one_line(f"{message}{flood}"), LONGEST)
        if error is None:
            return head
        note = getattr(record, "note", "")
        lines = [f"{head}: {sentence(error[1])}" + (f" ({note})" if note else "")]
        if self._full or hasattr(record, "full"):
            lines += _indented(shortened("".join(traceback.format_exception(*error)), FIELDS["traceback"].most))
        elif frame := own_frame_of(error[1]) or _innermost(error[2]):
            line = linecache.getline(frame.filename, frame.lineno or 0).strip()
            lines.append(f"        {short(frame.filename)}:{frame.lineno}  {line}")
        if note:
            lines.append(f"        {'kept; ' if getattr(record, 'kept', False) else ''}gateway show {event}")
        return "\n".join(map(one_line, lines))  # what a peer sent cannot forge a line


def _innermost(trace: TracebackType | None) -> traceback.FrameSummary | None:
    """Return the innermost frame. It is in a library or in our own code: the user's code has no part in the failure."""
    return next(reversed(traceback.extract_tb(trace)), None)


def _indented(text: str) -> list[str]:
    return [f"        {line}" for line in text.rstrip().splitlines()]


def _route(record: logging.LogRecord) -> str:
    """Return the label of the route, or the application of a file without routes, if the record belongs to a scope."""
    if not hasattr(record, "scope"):
        return ""
    application = arrivals.get().application
    return current_route.get() or (f"everything -> {application}" if application else "")


def _target(label: str) -> str:
    return label.rpartition("-> ")[2]


class JSONFormatter(logging.Formatter):
    """Writes one object a line, with those of the fields in :mod:`gateway.logs.fields` that there are."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "event_id": current_event.get(),
            **_facts(record),
            "flood": getattr(record, "flood", None),
        }
        if (where := ids()) is not None:
            fields["trace_id"], fields["span_id"] = where
        if (error := error_of(record)) is not None:
            fields["error"] = sentence(error[1])
            fields["traceback"] = "".join(traceback.format_exception(*error))
        present = {name: value for name, value in fields.items() if value not in (None, "")}
        text = json_text(present)
        if len(text) <= _LEAST_BOUND:  # so is each value, and to look at each would cost a tenth of the line
            return text
        return json_text({name: _bounded(name, value) for name, value in present.items()})


def _bounded(name: str, value: Any) -> Any:
    return shortened(value, FIELDS[name].most) if isinstance(value, str) else value


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return what ``record`` says of the message or connection that it is about. Other code may use the same names for
    something else, which is left out."""
    arrival, scope, facts = (getattr(record, name, None) for name in ("arrival", "scope", "facts"))
    if isinstance(arrival, Arrival):
        return _of_arrival(arrival)
    if is_access(record):
        return _of_access(getattr(record, "access", None))
    if isinstance(scope, dict) and isinstance(scope.get("type"), str):
        return _of_scope(record, scope)
    return facts._asdict() if isinstance(facts, PeerFacts) else {}


def _of_arrival(arrival: Arrival) -> dict[str, Any]:
    return {
        "scope": arrival.type,
        "server": arrival.server,
        "event_type": arrival.event,
        "event_id": arrival.id,
        "peer": arrival.who,
        "address": arrival.address,
        "what": arrival.what,
        "route": arrival.route,
        "target": arrival.target,
        "verdict": arrival.verdict,
        "attempt": arrival.attempt or None,
        "duration": round(arrival.seconds, 6),
        "bytes": arrival.size,
        "user_agent": arrival.user_agent,
        "error": arrival.error,
    }


def is_access(record: logging.LogRecord) -> bool:
    """Whether ``record`` is an access line. Its ``access`` is a :class:`protocols.http.access.Access`, of a module that
    only a gateway with such a server has."""
    return hasattr(getattr(record, "access", None), "combined")


def _of_access(access: Any) -> dict[str, Any]:
    return {
        "scope": access.scope,
        "server": access.server,
        "peer": str(TCP(*access.client)) if access.client is not None else UNIX_PEERS,
        "address": access.client[0] if access.client is not None else UNIX_PEERS,
        "what": f"{access.method} {access.target}",
        "verdict": str(access.status or "client left"),
        "duration": round(access.seconds, 6),
        "bytes": access.size,
        "user_agent": access.header(b"user-agent").decode("latin-1"),
    }


class AccessFormatter(logging.Formatter):
    """Writes lines of the combined format as they are, and others by ``formatter``."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if hasattr(record, "is_whole") else self._formatter.format(record)


def _of_scope(record: logging.LogRecord, scope: dict[str, Any]) -> dict[str, Any]:
    route, _, target = _route(record).rpartition(" -> ")
    facts = {
        "scope": scope["type"],
        "server": scope.get("listener") or getattr(record, "server", ""),
        "route": route,
        "target": target,
    }
    if (kind := scope_kinds().get(scope["type"])) is not None:
        with contextlib.suppress(Exception):  # a scope that is not whole, or a mistake of another distribution
            facts |= {"peer": kind.watch.who(scope), "address": kind.watch.address(scope)}
            facts["what"] = kind.watch.what(scope, {"type": "", "topic": ""})
    if (error := error_of(record)) is not None and (topic := topic_of(error[1])):
        facts["what"] = topic
    return facts
