"""Runs Django's views as an application, on threads that outlive the request.

Django runs the sync parts of a request (views, middleware, ORM, signals) on one thread, where they share a database
connection. It starts that thread for the request and ends it afterwards, which is most of the cost of a small view.
Here a thread of an earlier request is used again, and the connection that it keeps (``CONN_MAX_AGE``) with it.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import ThreadSensitiveContext

from gateway.atomic import current_transaction
from gateway.threads import thread_pool
from protocols.asgi import Application, Receive, Send

R = TypeVar("R")


def import_urls() -> None:
    """Import the project's URLs and the views that they name: otherwise a mistake in them is found by the first
    request."""
    from django.urls import get_resolver

    _ = get_resolver().url_patterns


class OwnThread:
    """The application around ``app``, whose sync parts, such as the ORM's, run on one thread for each scope."""

    target_name = "django"
    """The name of this target in gateway.yaml."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._idle: list[_Thread] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if thread_pool.get().is_shared or current_transaction.get() is not None:  # what is sync has its thread
            await self._app(scope, receive, send)
            return
        thread = self._idle.pop() if self._idle else _Thread()
        try:
            async with _RequestContext(executor=thread):
                await self._app(scope, receive, send)
        finally:
            thread.when_idle(lambda: self._give_back(thread))

    def _give_back(self, thread: "_Thread") -> None:
        if len(self._idle) < thread_pool.get().size:
            self._idle.append(thread)
        else:
            thread.shutdown(wait=False)


class Views(OwnThread):
    """The application around Django's handler."""

    def routable(self, scope: Any) -> bool:
        """Return whether a view of the project has the path of ``scope``."""
        from django.urls import Resolver404, resolve

        try:
            resolve(scope["path"])
        except Resolver404:
            return False
        return True

    @property
    def front_page(self) -> str | None:
        """The path of the admin, which a new project has before it has a page of its own. None: it has no admin."""
        from django.urls import NoReverseMatch, reverse

        try:
            return reverse("admin:index")
        except NoReverseMatch:
            return None


class _Thread(ThreadPoolExecutor):
    """An executor with one thread, which knows when it is idle. The thread starts with the first call."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, thread_name_prefix="django")
        self._calls: list[Future[Any]] = []
        """The calls that have not ended. The last one is not enough: it may be cancelled while earlier ones run."""

    def submit(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> "Future[R]":
        future = super().submit(function, *args, **kwargs)
        self._calls = [*self._unfinished(), future]
        return future

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call ``call`` now, or on the thread when its view ends: a view may still run after its client has left."""
        if self._unfinished():
            super().submit(call)
        else:
            call()

    def _unfinished(self) -> list[Future[Any]]:
        return [each for each in self._calls if not each.done()]


class _RequestContext(ThreadSensitiveContext):
    """The context in which asgiref runs the sync parts of one request."""

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)  # type: ignore[no-untyped-call]  # asgiref's
        # A task that the view left behind gets its own thread, as under plain Django; asgiref would refuse it.
        self._exited = False
