"""The backend that ``TASKS`` names: it puts tasks into the gateway's store, and finds their results there."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from django.core import checks
from django.db import DEFAULT_DB_ALIAS, transaction

from gateway.django.tasks.framework import (
    BaseTaskBackend,
    InvalidTaskError,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    task_enqueued,
)
from gateway.django.tasks.results import NoSuchTask, new_result, result_of, task_of, unix_time
from gateway.event_sender import Sender, sending
from gateway.task_queue import TaskQueue, the_queue
from protocols.asgi import VERSIONS, TaskReceiveEvent, TaskScope
from protocols.event_id import new_id

T = TypeVar("T")

MOST_ARGUMENTS = 1024 * 1024
"""Characters of the arguments of one task, as JSON."""
RESULT_TTL = 86400.0
"""Seconds for which a result is kept, unless the option of that name says something else."""
_OPTIONS = ("ENQUEUE_ON_COMMIT", "RESULT_TTL")


class TaskBackend(BaseTaskBackend):
    """Tasks in the gateway's store. The gateway's file has a route for them: ``routes: {task: django}``.

    Within ``transaction.atomic()`` a task is enqueued with the commit, and with a rollback it is not: with ``store:
    django`` as a part of the transaction, with another store right after it. ``OPTIONS`` may have ``ENQUEUE_ON_COMMIT:
    False``, by which another store has it at once in any case, and ``RESULT_TTL``, the seconds for which results are
    kept.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: "Task[..., T]", args: Any, kwargs: Any) -> "TaskResult[T]":
        """Raises the framework's error for a task or a queue that the gateway does not run, TypeError or ValueError
        for arguments that are not JSON or are too long, StoreUnavailable if the store keeps nothing now, and
        RuntimeError on an event loop: there, await ``aenqueue``."""
        _check_no_loop("enqueue")
        self.validate_task(task)
        result = new_result(task, new_id(), self.alias, args, kwargs)
        call: TaskReceiveEvent = {"type": "task.receive", "args": result.args, "kwargs": result.kwargs}
        _check_size(task, call)
        scope = self._scope(result)
        with _reached() as (queue, _):
            queue.check(scope)
            is_put = queue.put_within(scope, call)
        if is_put:
            task_enqueued.send(type(self), task_result=result)
        elif self.options.get("ENQUEUE_ON_COMMIT", True) and transaction.get_connection().in_atomic_block:
            transaction.on_commit(partial(self._enqueue, scope, call, result), using=DEFAULT_DB_ALIAS)
        else:
            self._enqueue(scope, call, result)
        return result

    def get_result(self, result_id: str) -> "TaskResult[Any]":
        """Raises the framework's error if there is no such task, if its result is no longer kept, or if the code has
        no such task any more. Raises RuntimeError on an event loop: there, await ``aget_result``."""
        _check_no_loop("get_result")
        with _reached() as (queue, sender):
            found = sender.wait_for(queue.find(str(result_id)))
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        try:
            return result_of(found, task_of(found.scope))
        except NoSuchTask as error:
            raise TaskResultDoesNotExist(str(error)) from error

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        return [*self._faults()]

    def _faults(self) -> Iterator[checks.CheckMessage]:
        for name in self.options.keys() - {*_OPTIONS}:
            hint = f"The options are {' and '.join(_OPTIONS)}."
            yield checks.Error(f"TASKS[{self.alias!r}] has the option {name!r}.", hint=hint, id="gateway.E001")
        ttl = self.options.get("RESULT_TTL", RESULT_TTL)
        if not isinstance(ttl, int | float) or ttl <= 0:
            hint = "Write a number of seconds, such as 86400."
            yield checks.Error(f"RESULT_TTL of TASKS[{self.alias!r}] is {ttl!r}.", hint=hint, id="gateway.E002")

    def _scope(self, result: "TaskResult[Any]") -> TaskScope:
        return {
            "type": "task",
            "asgi": VERSIONS,
            "listener": self.alias,
            "client": None,
            "server": None,
            "extensions": {"event": {"id": result.id}},
            "state": {},
            "task": result.task.module_path,
            "queue": result.task.queue_name,
            "priority": int(result.task.priority),
            "run_after": unix_time(result.task.run_after),
            "enqueued_at": unix_time(result.enqueued_at) or 0.0,
            "result_ttl": float(self.options.get("RESULT_TTL", RESULT_TTL)),
        }

    def _enqueue(self, scope: TaskScope, call: TaskReceiveEvent, result: "TaskResult[Any]") -> None:
        with _reached() as (queue, sender):
            sender.wait_for(queue.put(scope, call))
        task_enqueued.send(type(self), task_result=result)


def _check_no_loop(name: str) -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(f"{name}() would stop this event loop while it waits; write await …a{name}(…)")


def _check_size(task: "Task[..., Any]", call: TaskReceiveEvent) -> None:
    length = len(json.dumps([call["args"], call["kwargs"]]))
    if length > MOST_ARGUMENTS:
        raise ValueError(
            f"the arguments of {task.module_path} have {length} characters as JSON, and {MOST_ARGUMENTS} is the most; "
            "keep the data in the database, and pass its key"
        )


@contextmanager
def _reached() -> Iterator[tuple[TaskQueue, Sender]]:
    """Yield the queue of the gateway that runs here, or that the gateway's file describes."""
    with sending() as sender:
        try:
            yield the_queue(), sender
        except LookupError as error:
            raise InvalidTaskError(str(error)) from error
