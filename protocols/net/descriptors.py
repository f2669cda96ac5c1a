"""The process's file descriptors, the last of which are kept from peers.

The supervisor's health checks, the store and the handlers' own files and connections still need some when as many peers
have connected as there is room for.
"""

import contextlib
import os
import resource

_LEAST, _MOST, _SHARE = 16, 256, 8
"""The reserve: an eighth of the limit, within these bounds."""
_FREE, _FREE_SHARE = 32, 8
"""Descriptors that must be free before a listener accepts again, so that it does not stop and start for each one."""


class Descriptors:
    """The descriptors that one listener may use; ``some`` is any that stays open. ``reserved`` includes the reserve."""

    def __init__(self, some: int, *, reserved: bool = False) -> None:
        self._some = some
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        reserve = max(_LEAST, min(limit // _SHARE, _MOST))
        self.maximum = limit if reserved else max(limit - reserve, (some + limit) // 2)
        """A descriptor with this number or above is not for peers. The kernel always gives the lowest free number, so
        the number of a new one tells how many are in use, by whatever part of the process."""
        self._needed = 1 if reserved else max(1, min(_FREE, self.maximum // _FREE_SHARE))

    def are_free(self) -> bool:
        """Whether there are enough for peers again."""
        with contextlib.ExitStack() as taken:
            for _ in range(self._needed):
                try:
                    fd = os.dup(self._some)
                except OSError:
                    return False
                taken.callback(os.close, fd)
                if fd >= self.maximum:
                    return False
        return True
