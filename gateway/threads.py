"""Runs sync handlers on a bounded pool of threads.

The calls of one instance run in order, because its consumer awaits each; those of different instances run in parallel.
Django's connections are closed around each call if they are broken or too old, as Django does around a request. asgiref
takes a call to a thread and back: an instance keeps the context variables that a handler sets, and ``async_to_sync`` in
a handler runs on our loop.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar
from itertools import count
from typing import Any, ClassVar, ParamSpec, TypeVar

from asgiref.sync import SyncToAsync

from gateway.histogram import Histogram
from gateway.services import Service

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SIZE = 32
_numbers = count(1)
"""The numbers of pools, for the names of threads: two gateways can be in one process, each with a pool."""


WAITS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PoolUse:
    """What the threads of a pool do, for metrics."""

    __slots__ = ("calls", "waits")

    def __init__(self) -> None:
        self.calls: set[PooledCall] = set()
        """Calls that wait for a thread, and those that a thread is at work on, even if nobody waits for them any more.
        Each change is one step, so that no lock is needed."""
        self.waits = Histogram(WAITS)
        """Seconds that calls have waited for a thread. Only the event loop's thread observes."""

    @property
    def running(self) -> int:
        """Calls that a thread is at work on."""
        return sum(call.has_begun for call in tuple(self.calls))

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return sum(not call.has_begun for call in tuple(self.calls))


class PooledCall:
    """One call on a thread, which is entered and left in the thread."""

    __slots__ = ("_asked", "_began", "_use")

    def __init__(self, use: PoolUse) -> None:
        self._use = use
        self._began = 0.0
        self._asked = time.perf_counter()
        use.calls.add(self)

    @property
    def has_begun(self) -> bool:
        return self._began > 0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._use.calls.discard(self)

    def over(self) -> None:
        """Note that the caller goes on. Called on the loop."""
        if self._began:
            self._use.waits.observe(self._began - self._asked)
        else:
            self._use.calls.discard(self)


class Pool:
    """A gateway's threads; they start when they are first used."""

    is_shared: ClassVar[bool] = False
    """Whether everything runs where asgiref runs thread-sensitive code, as in tests; Django's views, too."""

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        self.size = size
        self.use = PoolUse()
        self._name = f"handler-{next(_numbers)}"
        self._executor: ThreadPoolExecutor | None = None
        self._bridge: SyncToAsync[..., Any] | None = None

    def bridge(self) -> SyncToAsync[..., Any]:
        """Return the function that runs a call on a thread."""
        if self._bridge is None:
            self._executor = ThreadPoolExecutor(self.size, thread_name_prefix=self._name)
            self._bridge = SyncToAsync(call_on_thread, thread_sensitive=False, executor=self._executor)
        return self._bridge

    def threads(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith(f"{self._name}_")]

    def probe(self) -> "Future[None] | None":
        """Return a future that is done when a thread has been free; None if nothing has asked for a thread yet."""
        executor = self._executor  # read once: this is the watch's thread, and the loop's may end the pool meanwhile
        return executor.submit(_nothing) if executor is not None else None

    def shutdown(self, *, wait: bool) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=wait)
            self._executor = self._bridge = None


class Pinned:
    """The one thread on which all sync code of a run goes, in place of the pool's. Django's connection there has a
    transaction, so that it is not cleaned up around a call: that would close it."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.bridge = SyncToAsync(call_in_transaction, thread_sensitive=False, executor=thread)
        self.is_over = False
        """Whether the thread is somebody else's by now: code that has outlived the run goes to the pool."""


pinned: ContextVar[Pinned | None] = ContextVar("pinned", default=None)
"""The thread of the run to which the current code belongs; None: any of the pool."""


def _bridge(pool: Pool) -> SyncToAsync[..., Any]:
    thread = pinned.get()
    return pool.bridge() if thread is None or thread.is_over else thread.bridge


thread_pool: Service[Pool] = Service("pool of threads", Pool())


class Calls:
    """Counts the calls on threads for one run of an application: it is not given up while a thread is at work."""

    def __init__(self) -> None:
        self.cut = 0
        """How often the calls that waited for a free thread were given up."""
        self.waiting = 0
        """Calls that no thread has taken yet."""
        self._lock = threading.Lock()
        self._number = 0

    def give_up(self) -> bool:
        """Let no call begin that still waits for a free thread. Return False if a thread is at work, which goes on."""
        with self._lock:
            self.cut += not self._number
            return not self._number

    def ask(self) -> int:
        """Count a call that is about to be made; return the argument for :meth:`begin`. Called on the loop."""
        with self._lock:
            self.waiting += 1
            return self.cut

    def begin(self, cut: int) -> bool:
        """Return whether the call may begin: not if it has been given up since ``cut`` was read. Called in the
        thread."""
        with self._lock:
            if may := cut == self.cut:
                self._number += 1
                self.waiting -= 1
            return may

    def withdraw(self) -> None:
        """Forget a call that no thread has begun, because it is over. Called on the loop."""
        with self._lock:
            self.waiting -= 1

    def end(self) -> None:
        """Note that a call has ended. Called on the loop, when the caller goes on."""
        with self._lock:
            self._number -= 1
        if not self._number:
            self.idle()

    def idle(self) -> None:
        """Called on the loop each time that no call is left. It is a method, not a callback: with a reference back, the
        run and its message would stay in memory until the garbage collector looks."""


current_calls: ContextVar[tuple[Calls, ...]] = ContextVar("current_calls", default=())
"""The calls of the runs to which the current code belongs: several in a batch."""


async def run_in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``function`` on a thread of the pool, in a copy of this context, and return what it returns.

    A thread cannot be interrupted: when the caller is cancelled, the call still runs to its end.
    """
    if not (counted := current_calls.get()):
        return await _bridged(function, args, kwargs)
    begun: list[Calls] = []
    made = [(calls, calls.ask()) for calls in counted]
    try:
        return await _bridged(_counted, (made, begun, function, args, kwargs), {})
    finally:
        for calls in counted:
            if calls in begun:
                calls.end()
            else:
                calls.withdraw()


async def _bridged(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    """Call ``function`` on a thread. An error has no frames of what is between here and the thread: the future they
    hold has the error, and in that circle the message would stay in memory until the garbage collector comes."""
    pool = thread_pool.get()
    call = PooledCall(pool.use)
    try:
        result: R = await _bridge(pool)(function, args, kwargs, call)
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code is not _called.__code__:
            trace = trace.tb_next
        error.__traceback__ = trace or error.__traceback__
        raise
    finally:
        call.over()
    return result


def call_from_thread(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> R:
    """Run ``coroutine`` on ``loop`` from a thread of the pool, wait for it, and return or raise what it does."""
    if asyncio._get_running_loop() is loop:
        coroutine.close()
        raise RuntimeError("a sync helper was called on the gateway's own loop, which it would wait for")
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def call_on_thread(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any], call: PooledCall) -> R:
    """Call ``function`` between two clean-ups of Django's connections."""
    with call:
        close_old_connections = _django_cleanup()
        close_old_connections()
        try:
            return _called(function, args, kwargs)
        finally:
            close_old_connections()


def call_in_transaction(
    function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any], call: PooledCall
) -> R:
    """Call ``function`` without a clean-up, which would end a transaction that is open on the thread."""
    with call:
        return _called(function, args, kwargs)


def _called(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    try:
        return function(*args, **kwargs)
    except (StopIteration, GeneratorExit, KeyboardInterrupt) as error:
        # No future takes the first; on the event loop, the others would end the run or the gateway.
        raise RuntimeError(f"the handler raised {type(error).__name__}") from error


def _counted(
    made: Sequence[tuple[Calls, int]],
    begun: list[Calls],
    function: Callable[..., R],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> R:
    begun += [calls for calls, cut in made if calls.begin(cut)]
    if not begun:
        raise CancelledError  # it waited for a free thread, and its time is out
    return function(*args, **kwargs)


def _django_cleanup() -> Callable[[], None]:
    """Return Django's own cleanup if the application has set Django up, or a function that does nothing.

    It is looked up in ``sys.modules``: this module must not depend on Django, and a project may set Django up without
    telling the gateway. Django without settings, because some library imported it, has no connections.
    """
    django_conf, django_db = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if django_conf is None or django_db is None or not django_conf.settings.configured:
        return _nothing
    cleanup: Callable[[], None] = django_db.close_old_connections
    return cleanup


def _nothing() -> None:
    pass
