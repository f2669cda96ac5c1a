"""The process's file descriptors. The last of them are not for strangers: the supervisor's questions, the store and the
handlers' own files and connections want some when as many peers have come as there is room for."""

import contextlib
import os
import resource

_LEAST, _MOST, _SHARE = 16, 256, 8
_ROOM, _ROOM_SHARE = 32, 8
"""How many have to be free again before more peers are let in: not one at a time."""


class Descriptors:
    """What one listener may have of them; ``some`` is any that stays open. ``reserved``: the reserve, too."""

    def __init__(self, some: int, *, reserved: bool = False) -> None:
        self._some = some
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        reserve = max(_LEAST, min(limit // _SHARE, _MOST))
        self.most = limit if reserved else max(limit - reserve, (some + limit) // 2)
        """A descriptor with this number or above is not for its peers. The kernel always gives the lowest that is free,
        so that its number says how many are in use, whoever uses them."""
        self._room = 1 if reserved else max(1, min(_ROOM, self.most // _ROOM_SHARE))

    def have_room(self) -> bool:
        """Whether there are some more for its peers."""
        with contextlib.ExitStack() as taken:
            for _ in range(self._room):
                try:
                    fd = os.dup(self._some)
                except OSError:
                    return False
                taken.callback(os.close, fd)
                if fd >= self.most:
                    return False
        return True
