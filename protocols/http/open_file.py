"""A file that is read on threads, because a slow disk blocks. It is closed after them."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")


class OpenFile:
    """A file that is open. A cancellation does not interrupt the thread that uses it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """``size``: bytes of it. :meth:`close` closes ``file``."""
        self.file = file
        self.size = size
        self._step: asyncio.Future[Any] | None = None
        """What a thread does with it, or did last."""
        self._with_it: list[Callable[[], object]] = []

    @classmethod
    async def at(cls, path: str | os.PathLike[str]) -> "OpenFile":
        """Open the file at ``path``. Raises OSError."""
        opening = asyncio.get_running_loop().run_in_executor(None, _opened, path)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise

    async def on_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call ``function``, which uses the file, on a thread, and return what it returns."""
        step = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
        self._step = step
        return await asyncio.shield(step)

    async def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes more; none at the end."""
        return await self.on_thread(self.file.read, size)

    def on_close(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the file is closed."""
        self._with_it.append(close)

    def close(self) -> None:
        """Close it after the thread that may still use it: its descriptor's number is used again, and a close would
        wait for the thread."""
        if self._step is None or self._step.done():
            self._close()
        else:
            self._step.add_done_callback(self._close)

    def _close(self, step: "asyncio.Future[Any] | None" = None) -> None:
        if step is not None and not step.cancelled():
            step.exception()  # nothing else looks at it
        for close in (self.file.close, *self._with_it):
            close()


def _opened(path: str | os.PathLike[str]) -> OpenFile:
    file = open(path, "rb")  # noqa: SIM115 -- OpenFile closes it
    return OpenFile(file, os.fstat(file.fileno()).st_size)


def _close_unused(opening: "asyncio.Future[OpenFile]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
