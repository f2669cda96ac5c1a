"""Where sync handlers run in a test."""

from typing import Any

from asgiref.sync import SyncToAsync

from gateway.threads import Pool, call_on_thread


class OneThread(Pool):
    """Runs sync handlers where asgiref runs thread-sensitive code: in the thread of Django's test case, whose
    transaction they see then, or in one thread of their own. They run one after the other, as under Channels."""

    def __init__(self) -> None:
        super().__init__(1)

    def bridge(self) -> SyncToAsync[..., Any]:
        return SyncToAsync(call_on_thread, thread_sensitive=True)
