"""What `gateway tail` and the log show of tasks."""

from gateway.arrivals import Watch
from protocols.asgi import TaskScope


class TaskWatch(Watch):
    @classmethod
    def address(cls, scope: TaskScope) -> str:
        """A task has no peer: code has put it into the store."""
        return ""
