"""Where synchronous handlers run: one bounded pool of threads.

In order within one instance (its consumer awaits each call), in parallel across instances. Django's connections are
closed around each call when they are broken or too old, as Django does around a request.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SIZE = 32


class _Pool:
    """The process's one pool; made when first used, so that importing this starts no thread."""

    def __init__(self) -> None:
        self._size = DEFAULT_SIZE
        self._executor: ThreadPoolExecutor | None = None

    def resize(self, size: int) -> None:
        """Use ``size`` threads from now on; calls that run in the old pool finish there."""
        self.shutdown(wait=False)
        self._size = size

    def get(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._size, thread_name_prefix="handler")
        return self._executor

    def shutdown(self, *, wait: bool) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=wait)
            self._executor = None


pool = _Pool()


async def run_in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function`` on a thread of the pool, in a copy of this context, and return what it returns.

    A thread cannot be interrupted: when the caller is cancelled, the call still runs to its end.
    """
    call = partial(_with_database_care, function, *args, **kwargs)
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool.get(), context.run, call)


def call_from_thread(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> R:
    """Run ``coroutine`` on ``loop`` from a thread of the pool, wait for it, and return or raise what it does."""
    if asyncio._get_running_loop() is loop:  # noqa: SLF001 -- the public form raises where there is none
        coroutine.close()
        raise RuntimeError("a sync helper was called on the gateway's own loop, which it would wait for")
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def _with_database_care(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    close_old_connections = _django_cleanup()
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()


def _django_cleanup() -> Callable[[], None]:
    """Django's own cleanup where the application has set Django up, nothing otherwise.

    Looked up rather than imported: this module must not make Django a dependency, and a project may set Django up
    itself without telling the gateway. One that has no settings (some library imported it) has no connections.
    """
    django_conf, django_db = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if django_conf is None or django_db is None or not django_conf.settings.configured:
        return _nothing
    cleanup: Callable[[], None] = django_db.close_old_connections
    return cleanup


def _nothing() -> None:
    pass
