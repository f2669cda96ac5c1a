"""How code anywhere puts a task into the gateway's store and looks its result up, and how a task learns of its end."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.services import Service
from protocols.asgi import TaskReceiveEvent, TaskScope


@dataclass(frozen=True)
class TaskFailure:
    """What one attempt failed with."""

    error: str
    """The dotted path of the exception's class."""
    traceback: str


@dataclass(frozen=True)
class TaskRecord:
    """What is known of the attempts at a task. Times are Unix times."""

    status: str = "READY"
    """``READY``, ``RUNNING``, ``FAILED`` or ``SUCCESSFUL``."""
    started_at: float | None = None
    """When the first attempt began."""
    last_attempted_at: float | None = None
    finished_at: float | None = None
    worker_ids: tuple[str, ...] = ()
    """The process of each attempt, in order."""
    failures: tuple[TaskFailure, ...] = ()
    return_value: Any = None


@dataclass(frozen=True)
class QueuedTask:
    """A task that is in the store, or of which the result is kept."""

    id: str
    scope: TaskScope
    call: TaskReceiveEvent
    record: TaskRecord


class TaskQueue(Protocol):
    """The tasks in a gateway's store. Its methods run where :meth:`gateway.event_sender.Sender.wait_for` runs a
    coroutine."""

    def check(self, scope: TaskScope) -> None:
        """Raises LookupError, with one sentence, if no route takes ``scope``."""

    def put_within(self, scope: TaskScope, call: TaskReceiveEvent) -> bool:
        """Do the same as :meth:`put` in the transaction that the calling thread has open on the store's database.
        Return False if there is none."""

    async def put(self, scope: TaskScope, call: TaskReceiveEvent) -> None:
        """Store a task, under the event id of ``scope``. Raises LookupError as :meth:`check` does, ValueError if an
        argument cannot be stored, StoreUnavailable if nothing can."""

    async def find(self, id: str) -> QueuedTask | None:
        """Return the task with this id; None if there is none, or its result is no longer kept."""


task_queue: Service[TaskQueue] = Service("queue of tasks")


def the_queue() -> TaskQueue:
    """Return the queue of the gateway that runs here, or of the one whose services were entered. Raises LookupError."""
    try:
        return task_queue.get()
    except LookupError:
        raise LookupError("this gateway has no routes for tasks; write routes: {task: django} into its file") from None


End = Callable[[TaskRecord, BaseException | None], Awaitable[None]]
"""Gets the error of the attempt, too, if it failed."""


class TaskAttempts(Protocol):
    """The attempt that runs in this context."""

    record: TaskRecord
    """What is known of it and of those before it."""

    def on_end(self, call: End) -> None:
        """Await ``call`` once, if this attempt is the task's last, when its result is stored."""


current_attempt: ContextVar[TaskAttempts | None] = ContextVar("current_attempt", default=None)
"""Set while a task runs."""
