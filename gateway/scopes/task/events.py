"""What an application may send in a ``task`` scope. Pure; see :mod:`protocols.events`."""

import json

from protocols.asgi import TaskAcceptEvent, TaskDeferEvent, TaskRejectEvent
from protocols.errors import LocalProtocolError
from protocols.events import Event, a_type, one_line, retry_after

MOST_RESULT = 1024 * 1024
"""Characters of a return value, as JSON."""

SENDS = {"open": {"task.accept": "accepted", "task.reject": "rejected", "task.defer": "deferred"}}
"""The states of a run over a task."""


def accept(event: Event) -> TaskAcceptEvent:
    """Return the event with a return value. Raises LocalProtocolError if that is not JSON, or too long."""
    value = event.get("return_value")
    try:
        length = len(json.dumps(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"task.accept: return_value is {a_type(value)} that is not JSON: {error}") from error
    if length > MOST_RESULT:
        raise LocalProtocolError(
            f"task.accept: return_value has {length} characters as JSON, and {MOST_RESULT} is the most; keep it "
            "elsewhere, and return where it is"
        )
    return {"type": "task.accept", "return_value": value}


def reject(event: Event) -> TaskRejectEvent:
    return {"type": "task.reject", "reason": one_line(event, "reason")}


def defer(event: Event) -> TaskDeferEvent:
    wait = retry_after(event)
    return {"type": "task.defer"} if wait is None else {"type": "task.defer", "retry_after": wait}


CHECKS = {"task.accept": accept, "task.reject": reject, "task.defer": defer}
