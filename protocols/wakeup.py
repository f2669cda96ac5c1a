"""One task waits until another one has something for it."""

import asyncio


class Wakeup:
    """Wakes all that wait now. It remembers nothing: look first whether there is anything to wait for, and look again
    afterwards, in a loop::

        while not queue:
            await wakeup.wait()
    """

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    @property
    def awaited(self) -> bool:
        """Whether a task waits, or has just been woken."""
        return self._future is not None

    async def wait(self) -> None:
        """Until :meth:`wake` is called, or sooner: another task that waited was cancelled."""
        if self._future is not None:
            await asyncio.wait((self._future,))
            return
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)
