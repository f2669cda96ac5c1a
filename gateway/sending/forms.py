"""The two forms of a helper, made from one function: the one that waits, and the one that is awaited."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from gateway.event_sender import outside_services, runs_here, sending
from gateway.sending.messages import Message

P = ParamSpec("P")
R = TypeVar("R")


def waiting(make: Callable[P, Message[R]]) -> Callable[P, R]:
    """Return the form for sync code. It raises RuntimeError on an event loop, which it would stop while it waits."""

    @wraps(make)
    def helper(*args: P.args, **kwargs: P.kwargs) -> R:
        if asyncio._get_running_loop() is not None:
            name = make.__name__
            raise RuntimeError(f"{name}() would stop this event loop while it waits; write await gateway.aio.{name}(…)")
        with sending() as sender:
            return make(*args, **kwargs).send(sender)

    helper.__module__ = "gateway"  # a task queue finds a function again by its module and its name
    return helper


def awaited(make: Callable[P, Message[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return the form for async code."""

    @wraps(make)
    async def helper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not runs_here():
            await asyncio.to_thread(outside_services)  # reading the file would stop the loop for a moment
        with sending() as sender:
            return await make(*args, **kwargs).asend(sender)

    helper.__module__ = "gateway.aio"
    return helper
