"""The process's file descriptors. The last of them are not for strangers: the supervisor's questions, the store and the
handlers' own files and connections want some when as many peers have come as there is room for."""

import contextlib
import os
import resource

_LEAST, _MOST, _SHARE = 16, 256, 8
_ROOM, _ROOM_SHARE = 32, 8
"""How many have to be free again before more peers are let in: not one at a time."""


class Descriptors:
    """What the limit of today allows; ``some`` is any descriptor that stays open."""

    def __init__(self, some: int) -> None:
        self._some = some
        self.limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        reserve = max(_LEAST, min(self.limit // _SHARE, _MOST))
        self.for_peers = max(self.limit - reserve, (some + self.limit) // 2)
        """A descriptor with this number or above is one of the reserve. The kernel always gives the lowest that is
        free, so that its number says how many are in use, whoever uses them."""

    def have_room(self) -> bool:
        """Whether peers may have some more."""
        with contextlib.ExitStack() as taken:
            for _ in range(max(1, min(_ROOM, self.for_peers // _ROOM_SHARE))):
                try:
                    fd = os.dup(self._some)
                except OSError:
                    return False
                taken.callback(os.close, fd)
                if fd >= self.for_peers:
                    return False
        return True
