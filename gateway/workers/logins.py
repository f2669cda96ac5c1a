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

    def note(self, told: Told) -> None:
        self._last.pop(told["digest"], None)
        if not told["closed"]:
            self._last[told["digest"]] = told
        if len(self._last) > MOST:
            del self._last[next(iter(self._last))]

    def all(self) -> list[Told]:
        return list(self._last.values())
