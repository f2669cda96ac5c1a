"""Where sync code runs in a test."""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from gateway.threads import Pool, PooledCall, call_in_transaction, call_on_thread

R = TypeVar("R")


class OneThread(Pool):
    """Runs sync handlers where asgiref runs thread-sensitive code: in the thread of Django's test case, whose
    transaction they see then, or in one thread of their own. They run one after the other, as under Channels."""

    is_shared: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(1)

    def bridge(self) -> SyncToAsync[..., Any]:
        return SyncToAsync(_call, thread_sensitive=True)


def _call(function: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any], call: PooledCall) -> R:
    called = call_in_transaction if _has_transaction() else call_on_thread
    return called(function, args, kwargs, call)


def _has_transaction() -> bool:
    """Whether this thread has the transaction of a test case of Django's."""
    conf, db = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if conf is None or db is None or not conf.settings.configured:
        return False
    return any(each.in_atomic_block for each in db.connections.all(initialized_only=True))


def share_thread() -> None:
    """Let Django's views run there, too, in what begins in this context: Django makes a thread for each request, unless
    it is within a context that has one."""
    context = ThreadSensitiveContext()
    loop = asyncio.get_running_loop()
    executor = AsyncToSync.loop_thread_executors.get(loop, SyncToAsync.single_thread_executor)
    SyncToAsync.context_to_thread_executor[context] = executor
    SyncToAsync.thread_sensitive_context.set(context)
