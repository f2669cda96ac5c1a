"""The logins to the console, which every worker knows."""

from collections.abc import Mapping
from typing import Any

from gateway.console.sessions import MOST

Told = Mapping[str, Any]
"""What :attr:`gateway.console.sessions.Sessions.tell` gets."""


class KnownLogins:
    """Remembers the logins that last, as far as the workers have told. A worker that starts later gets them."""

    def __init__(self) -> None:
        self._last: dict[str, Told] = {}
        self._closed: dict[str, None] = {}
        """Sessions that ended last. A worker may tell of their use before it hears of their end."""

    def note(self, told: Told) -> None:
        digest = told["digest"]
        self._last.pop(digest, None)
        if told["closed"]:
            self._closed[digest] = None
        elif digest not in self._closed:
            self._last[digest] = told
        for each in (self._last, self._closed):
            if len(each) > MOST:
                del each[next(iter(each))]

    def all(self) -> list[Told]:
        return list(self._last.values())
