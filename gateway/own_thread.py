"""Threads for what an operator asks for.

asyncio has few threads of its own, and all of them may be taken: by handlers that block them, or while a name server
does not answer. The metrics and the console are needed most then.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class OwnThread:
    """One thread, which starts with its first call. Calls run in the order in which they were made."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``function`` on the thread, in a copy of this context, and return or raise what it does."""
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


operator_thread = OwnThread("operator")
disk_thread = OwnThread("operator-disk")
"""For reading files: a disk in a network may not answer, and then only what is on it is missing."""
