"""The outcome of the attempts at a task, as a note in the store, which outlives the message."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import cast

from gateway.delivery.attempt import LONGEST_FAILURE
from gateway.delivery.cut_off import Undeliverable
from gateway.store import HistoryEntry, Message, MessageState, codec
from gateway.task_queue import QueuedTask, TaskFailure, TaskRecord
from protocols.asgi import TaskReceiveEvent, TaskScope
from protocols.events import Event

MOST_FAILURES = 20
"""The failures of so many attempts are kept, the latest ones."""


def key_of(id_: str) -> str:
    """Return the key of the note."""
    return f"task:{id_}"


def encoded(scope: TaskScope, call: TaskReceiveEvent, record: TaskRecord) -> bytes:
    """Return the note: the call too, because the message is gone when its result is asked for."""
    kept = {key: value for key, value in scope.items() if key not in ("extensions", "state")}
    facts = asdict(replace(record, failures=record.failures[-MOST_FAILURES:]))
    return codec.encode(kept, [cast("Event", call), {**facts, "return_value": json.dumps(record.return_value)}])


def decoded(note: bytes) -> tuple[TaskScope, TaskReceiveEvent, TaskRecord]:
    """Raises ValueError."""
    scope, events = codec.decode(note)
    call, facts = events
    failures = tuple(TaskFailure(**failure) for failure in facts["failures"])
    value = json.loads(facts["return_value"])
    record = TaskRecord(
        **{**facts, "failures": failures, "return_value": value, "worker_ids": tuple(facts["worker_ids"])}
    )
    return cast("TaskScope", scope), cast("TaskReceiveEvent", call), record


_BY_STATE = {MessageState.WAITING: "READY", MessageState.RUNNING: "RUNNING", MessageState.DEAD: "FAILED"}


def failure(error: BaseException, text: str) -> TaskFailure:
    """Return what a task has failed with. ``text`` is for an error without a place in the task's own code."""
    kind, trace = type(error), error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    if trace is not None:
        text = "".join(traceback.format_exception(kind, error, trace))[-LONGEST_FAILURE:].rstrip()
    return TaskFailure(f"{kind.__module__}.{kind.__qualname__}", text)


def _is_ours(trace: TracebackType) -> bool:
    module = str(trace.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] in ("gateway", "protocols")


def workers(record: TaskRecord, attempts: int) -> tuple[str, ...]:
    """Return the processes of the first ``attempts``. That of an attempt whose end is not known is not known either:
    it runs, or its process has died."""
    return (*record.worker_ids, *["unknown"] * attempts)[:attempts]


def queued(message: Message, state: MessageState, note: bytes | None, history: Sequence[HistoryEntry]) -> QueuedTask:
    """Return the task of a message that is still there. Its state decides: the note may be of an attempt that was
    repeated, because a process died before the end of the attempt was stored."""
    scope, events = codec.decode(message.content)
    record, status = decoded(note)[2] if note is not None else TaskRecord(), _BY_STATE[state]
    began = [entry.at for entry in history if entry.what.startswith("attempt ")]
    record = replace(
        record,
        status=status,
        started_at=record.started_at or next(iter(began), None),
        last_attempted_at=began[-1] if began else record.last_attempted_at,
        worker_ids=workers(record, message.attempts),
        finished_at=None,
        return_value=None,
    )
    if status == "FAILED":
        record = replace(record, finished_at=history[-1].at if history else record.last_attempted_at)
    if status == "FAILED" and not record.failures:  # no attempt could begin
        record = replace(record, failures=(failure(Undeliverable(), message.error),))
    call = cast("TaskReceiveEvent", events[0])
    return QueuedTask(message.id, cast("TaskScope", scope), call, record)


def finished(id_: str, note: bytes) -> QueuedTask:
    """Return the task of a message that is gone. One that an operator dropped has failed."""
    scope, call, record = decoded(note)
    return QueuedTask(id_, scope, call, record if record.status == "SUCCESSFUL" else replace(record, status="FAILED"))
