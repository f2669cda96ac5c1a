"""One task waits until another one has something for it."""

import asyncio
from collections.abc import Awaitable
from typing import Any


class Wakeup:
    """Wakes all that wait now. It remembers nothing: look first whether there is anything to wait for, and look again
    afterwards, in a loop::

        while not queue:
            await wakeup.wait()
    """

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] | None = None
        """What a task waits for. None, or done, where no task waits."""

    @property
    def awaited(self) -> bool:
        """Whether a task waits."""
        return self.waiter is not None and not self.waiter.done()

    async def wait(self) -> None:
        """Wait until :meth:`wake` is called, or less long, if another task that waited was cancelled."""
        await self.next()

    def next(self) -> Awaitable[Any]:
        """What :meth:`wait` waits for; await it at once. A coroutine would cost each idle connection 250 bytes."""
        if self.waiter is not None and not self.waiter.done():
            return asyncio.wait((self.waiter,))
        self.waiter = asyncio.get_running_loop().create_future()
        return self.waiter

    def wake(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
