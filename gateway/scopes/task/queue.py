"""Puts tasks into the store, and finds them there."""

import time
from collections.abc import Callable
from functools import cached_property, partial

from gateway.delivery.reach import StoreReach
from gateway.delivery.route_table import RouteTable
from gateway.routing import Router
from gateway.routing.table import route_table
from gateway.scopes.task import records
from gateway.scopes.task.delivery import TaskDelivery
from gateway.store import Message, Store, codec
from gateway.task_queue import QueuedTask
from protocols.asgi import Application, TaskReceiveEvent, TaskScope, describe

_DELIVERY = TaskDelivery()


class TaskRoutes:
    """The routes for tasks, as far as they can be seen without running an application."""

    def __init__(self, routed: Callable[[], Application], file: str) -> None:
        """``routed`` is called once, with the first task."""
        self._routed = routed
        self._file = file

    @cached_property
    def _app(self) -> Application:
        return self._routed()

    @cached_property
    def _table(self) -> RouteTable:
        return route_table(self._app)

    def label_of(self, scope: TaskScope) -> str:
        """Return the label of the route that takes ``scope``; empty if only running the application would tell. Raises
        LookupError if no route does."""
        if not isinstance(self._app, Router):
            return ""
        if (found := self._app.explain(scope)) is None:
            raise LookupError(
                f"no route of {self._file} takes tasks of the queue {scope['queue']!r}; write routes: "
                f"{{task: [{{queue: {scope['queue']}, app: django}}]}} there"
            )
        return found.label

    def message(self, scope: TaskScope, call: TaskReceiveEvent, now: float) -> Message:
        """Return the task as the store keeps it. ``now`` is the store's. Raises LookupError and ValueError."""
        id_: str = scope["extensions"]["event"]["id"]
        label = self.label_of(scope)
        kept = self._table.routes.get(("task", label))
        wait = 0.0 if scope["run_after"] is None else max(0.0, scope["run_after"] - time.time())
        return Message(
            id=id_,
            type="task",
            route=label,
            key=_DELIVERY.order_key(scope, [call]) if kept is not None and kept.policy.order == "key" else id_,
            received=scope["enqueued_at"],
            content=codec.encode(self._table.noted(scope), [call]),
            due=now + wait if wait else 0.0,
            subject=describe(scope),
            priority=scope["priority"],
        )


async def found(store: Store, id_: str) -> QueuedTask | None:
    """Return the task ``id_`` of ``store``."""
    key = records.key_of(id_)
    message, summary = await store.get(id_), await store.summary(id_)
    if message is not None and summary is not None:
        told = (await store.noted([key]), await store.history(id_))
        return records.queued(message, summary.state, *told) if message.type == "task" else None
    note = await store.noted([key])  # after the look at the message: it is there before that goes
    return None if note is None else records.finished(id_, note)


class StoredTaskQueue:
    """A :class:`gateway.task_queue.TaskQueue`."""

    def __init__(self, routes: TaskRoutes, reach: StoreReach) -> None:
        self._routes = routes
        self._reach = reach

    def check(self, scope: TaskScope) -> None:
        self._routes.label_of(scope)

    def put_within(self, scope: TaskScope, call: TaskReceiveEvent) -> bool:
        return self._reach.put_within(lambda now: [self._routes.message(scope, call, now)])

    async def put(self, scope: TaskScope, call: TaskReceiveEvent) -> None:
        await self._reach.put_all(lambda now: [self._routes.message(scope, call, now)])

    async def find(self, id: str) -> QueuedTask | None:
        return await self._reach.ask(partial(found, id_=id))
