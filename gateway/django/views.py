"""Django's views as an application, on threads that outlive the request.

Django gives each request a thread of its own for its sync parts (views, middleware, ORM, signals), which share a
connection to the database there. It makes that thread for the request and ends it after: most of what a small view
costs. Here it is one that an earlier request has left; a connection that it keeps (``CONN_MAX_AGE``) serves the next.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext

from gateway.threads import thread_pool
from protocols.asgi import Application, Receive, Send

R = TypeVar("R")


class Views:
    """``views`` is Django's handler."""

    target_name = "django"
    """As gateway.yaml calls it."""

    def __init__(self, views: Application) -> None:
        self._views = views
        self._idle: list[_Thread] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        thread = self._idle.pop() if self._idle else _Thread()
        try:
            async with _RequestContext(executor=thread):
                await self._views(scope, receive, send)
        finally:
            thread.when_idle(lambda: self._give_back(thread))

    def _give_back(self, thread: "_Thread") -> None:
        if len(self._idle) < thread_pool.get().size:
            self._idle.append(thread)
        else:
            thread.shutdown(wait=False)


class _Thread(ThreadPoolExecutor):
    """One thread, which knows when it has nothing to do. It starts with the first call."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="django")
        self._calls: list[Future[Any]] = []
        """Those that have not ended. More than the last: of several at once, that may be cancelled and others run."""

    def submit(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> "Future[R]":
        future = super().submit(function, *args, **kwargs)
        self._calls = [*self._unfinished(), future]
        return future

    def when_idle(self, call: Callable[[], None]) -> None:
        """``call()`` now or, where a view still runs whose client has left, on the thread when it has ended."""
        if self._unfinished():
            super().submit(call)
        else:
            call()

    def _unfinished(self) -> list[Future[Any]]:
        return [each for each in self._calls if not each.done()]


class _RequestContext(ThreadSensitiveContext):
    """What asgiref calls the sync parts of one request by."""

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)  # type: ignore[no-untyped-call]  # asgiref's
        # A task that the view has left behind gets a thread of its own, as it does without us; asgiref would refuse it.
        self._exited = False
