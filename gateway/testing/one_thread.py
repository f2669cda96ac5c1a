"""Where sync code runs in a test."""

import asyncio
from typing import Any, ClassVar

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from gateway.threads import Pool, call_on_thread


class OneThread(Pool):
    """Runs sync handlers where asgiref runs thread-sensitive code: in the thread of Django's test case, whose
    transaction they see then, or in one thread of their own. They run one after the other, as under Channels."""

    is_shared: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(1)

    def bridge(self) -> SyncToAsync[..., Any]:
        return SyncToAsync(call_on_thread, thread_sensitive=True)


def share_thread() -> None:
    """Let Django's views run there, too, in what begins in this context: Django makes a thread for each request, unless
    it is within a context that has one."""
    context = ThreadSensitiveContext()
    loop = asyncio.get_running_loop()
    executor = AsyncToSync.loop_thread_executors.get(loop, SyncToAsync.single_thread_executor)
    SyncToAsync.context_to_thread_executor[context] = executor
    SyncToAsync.thread_sensitive_context.set(context)
