"""One task waits until another one has something for it."""

import asyncio


class Wakeup:
    """Wakes all that wait now. It remembers nothing: look first whether there is anything to wait for, and look again
    afterwards, in a loop::

        while not queue:
            await wakeup.wait()
    """

    __slots__ = ("waiter",)

    def __init__(self) -> None:
        self.waiter: asyncio.Future[None] | None = None
        """There is one while a task waits, and until it goes on: a look at it is cheaper than a call."""

    @property
    def awaited(self) -> bool:
        """Whether a task waits, or has just been woken."""
        return self.waiter is not None

    async def wait(self) -> None:
        """Until :meth:`wake` is called, or sooner: another task that waited was cancelled."""
        if self.waiter is not None:
            await asyncio.wait((self.waiter,))
            return
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def wake(self) -> None:
        future = self.waiter
        if future is not None and not future.done():
            future.set_result(None)
