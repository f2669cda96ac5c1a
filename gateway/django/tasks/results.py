"""Turns what the store has of a task into the framework's own objects."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from gateway.django.tasks.framework import InvalidTaskError, Task, TaskError, TaskResult, TaskResultStatus
from gateway.task_queue import QueuedTask
from protocols.asgi import TaskScope

EARLIEST, LATEST = -62135510400.0, 253402214400.0
"""Unix times that a datetime has in every time zone: a day from the first, and from the last."""


class NoSuchTask(LookupError):
    """The code has no such task any more; the message is one sentence."""


def task_of(scope: TaskScope) -> "Task[..., Any]":
    """Import the task of ``scope``, with its queue, priority and time. Raises NoSuchTask, and whatever a module raises
    that fails while it is imported."""
    path = scope["task"]
    module = path.rpartition(".")[0]
    try:
        found = import_string(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that is there needs another one
        raise NoSuchTask(f"there is no task {path}: there is no module {error.name}") from error
    except ImportError as error:
        if isinstance(error.__cause__, AttributeError):
            raise NoSuchTask(
                f"there is no task {path}: the module {module} has no {path.rpartition('.')[2]}"
            ) from error
        raise
    if not isinstance(found, Task):
        raise NoSuchTask(f"{path} is not a task; write @task before it")
    try:
        return replace(
            found,
            backend=scope["listener"],
            priority=scope["priority"],
            queue_name=scope["queue"],
            run_after=moment(scope["run_after"]),
        )
    except InvalidTaskError as error:
        raise NoSuchTask(f"{path} cannot run as it was enqueued: {error}") from error


def moment(at: float | None) -> datetime | None:
    """Return a Unix time as Django has it: aware if the settings say ``USE_TZ``, else in local time."""
    if at is None:
        return None
    at = min(max(at, EARLIEST), LATEST)
    return datetime.fromtimestamp(at, UTC) if settings.USE_TZ else datetime.fromtimestamp(at)  # noqa: DTZ006 -- USE_TZ is off


def unix_time(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def new_result(task: "Task[..., Any]", id_: str, alias: str, args: Sequence[Any], kwargs: Any) -> "TaskResult[Any]":
    """Return the result of a task that is about to be stored. Raises TypeError or ValueError if an argument is not
    JSON."""
    return TaskResult(
        task=task,
        id=id_,
        status=TaskResultStatus.READY,
        enqueued_at=moment(time.time()),
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=list(args),
        kwargs=kwargs,
        backend=alias,
        errors=[],
        worker_ids=[],
    )


def result_of(found: QueuedTask, task: "Task[..., Any]") -> "TaskResult[Any]":
    record = found.record
    result: TaskResult[Any] = TaskResult(
        task=task,
        id=found.id,
        status=TaskResultStatus(record.status),
        enqueued_at=moment(found.scope["enqueued_at"]),
        started_at=moment(record.started_at),
        finished_at=moment(record.finished_at),
        last_attempted_at=moment(record.last_attempted_at),
        args=found.call["args"],
        kwargs=found.call["kwargs"],
        backend=found.scope["listener"],
        errors=[TaskError(exception_class_path=each.error, traceback=each.traceback) for each in record.failures],
        worker_ids=list(record.worker_ids),
    )
    object.__setattr__(result, "_return_value", record.return_value)  # as the framework's own backends do
    return result
