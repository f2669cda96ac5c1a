"""The task scope as one object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gateway.delivery.policy import Policy
from gateway.delivery.reach import StoreReach
from gateway.recording.replay_run import ReplayRun
from gateway.routing.router import Route, default
from gateway.scopes.kind import ScopeKind
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.task.arrivals import TaskWatch
from gateway.scopes.task.delivery import TaskDelivery
from gateway.scopes.task.events import CHECKS, SENDS
from gateway.scopes.task.queue import StoredTaskQueue, TaskRoutes
from gateway.scopes.task.router import TaskRouter, queue, task_name
from gateway.services import Service
from gateway.task_queue import task_queue
from protocols.asgi import Application
from protocols.units import Count


@dataclass(frozen=True, kw_only=True)
class TaskRoute(Policy):
    """A route of the task scope: by `queue`, `task` or `default`. What a route does not say, it has from here: a task
    waits in the store, and is tried three times."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What runs the tasks: `django`, or an application, `module.attribute` or `module:attribute`."""
    queue: str | None = None
    """The name of a queue, as `queue_name` of the task has it."""
    task: str | None = None
    """The dotted name of a task (`shop.tasks.send_invoice`), or of a module or a package (`shop.tasks`)."""
    default: Literal[True] | None = None
    """Every task that no route before it took."""
    attempts: Count | None = 3
    """How often a task is started; after the last failure it is a dead letter, and its result is FAILED. Attempts that
    a kill or a restart cut off count, too."""
    on_error: Literal["retry", "dead-letter"] = "retry"
    """What follows a failure: `retry` until `attempts` are used up; `dead-letter` at once, so that only an attempt that
    was cut off is followed by another."""
    concurrency: Count = 16
    """How many tasks of this route run at once, in each process; more wait in the store. Long tasks then leave threads,
    and the 64 places for stored messages, to everything else."""
    inbox: Literal[True] = True
    """Tasks always wait in the store."""


class _Replay(ReplayRun):
    sends: ClassVar = SENDS
    checks: ClassVar = CHECKS


class TaskKind(ScopeKind):
    name: ClassVar = "task"
    traced: ClassVar = "gateway.scopes.task.tracing:TracedTask"
    watch: ClassVar = TaskWatch
    words: ClassVar = "Tasks of Django's task framework, by queue."
    noun: ClassVar = "tasks"
    delivery: ClassVar = TaskDelivery()
    is_served: ClassVar = False
    django: ClassVar = "gateway.django.tasks.runner:application"
    route: ClassVar = TaskRoute
    router: ClassVar = TaskRouter
    refusal: ClassVar = ({"type": "task.reject", "reason": "no route takes it any more"},)
    example: ClassVar = "task:default"

    def services(self, routed: Callable[[], Application], file: str, reach: StoreReach) -> Mapping[Service[Any], Any]:
        return {task_queue: StoredTaskQueue(TaskRoutes(routed, file), reach)}

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        if key == "default":
            return default(target, policy)
        return (queue if key == "queue" else task_name)(value, target, policy)

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        return _Replay(app, scope, events or [{"type": "task.receive", "args": [], "kwargs": {}}])

    def subject(self, text: str) -> dict[str, Any]:
        """``default`` is a queue, ``shop.tasks.send_invoice`` a task, and ``shop.tasks.send_invoice@mails`` both."""
        name, at, queue_name = text.partition("@")
        if not at and "." not in name:
            name, queue_name = "", name
        return {"task": name, "queue": queue_name or "default", "priority": 0}
