"""The router of the task scope: by queue, or by the task's dotted name."""

import re
from dataclasses import dataclass

from gateway.delivery.policy import Policy
from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Default, Pattern
from gateway.routing.router import PLAIN, Route, Router, pattern_text, route
from protocols.asgi import TaskScope

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Queue(Pattern):
    """The name of a queue."""

    name: str

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("a queue without a name; write one, such as default")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.name),)

    @property
    def sample(self) -> str:
        return self.name

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key == self.name else None

    def __str__(self) -> str:
        return f"queue {self.name}"


@dataclass(frozen=True)
class TaskName(Pattern):
    """A task, or all tasks of a module or a package, by its dotted name."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the name of a task; write shop.tasks.send_invoice, or shop.tasks")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("beginning", self.name),)

    @property
    def sample(self) -> str:
        return self.name

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if f"{key}.".startswith(f"{self.name}.") else None

    def covers(self, other: Pattern) -> bool:
        return isinstance(other, TaskName) and self.match(other.name) is not None

    def __str__(self) -> str:
        return self.name


def queue(name: str, target: object, policy: Policy = PLAIN) -> Route:
    """Tasks of the queue ``name``."""
    return route(Queue(pattern_text(name)), target, policy)


def task_name(name: str, target: object, policy: Policy = PLAIN) -> Route:
    """The task ``name``, or all tasks of a module or a package of that name."""
    return route(TaskName(pattern_text(name)), target, policy)


class TaskRouter(Router):
    """The first route that has the queue of a task, or its name."""

    scope_types = ("task",)
    patterns = (Queue, TaskName, Default)

    def key(self, pattern: Pattern, scope: TaskScope) -> str:
        return scope["task"] if isinstance(pattern, TaskName) else scope["queue"]
