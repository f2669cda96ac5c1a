"""Verdicts that some groups of a message gave, while others asked for it again: those do not run a second time."""

import time
from typing import NamedTuple

from gateway.scopes.email.identity import MAIL_WINDOW
from protocols.events import Event

MOST = 10_000
"""Verdicts that are kept, some 500 bytes each; of more, the oldest are forgotten."""
_LONGEST_REASON = 400
"""Characters of a reason that are kept; an answer has no room for more."""


class _Kept(NamedTuple):
    verdict: Event
    until: float


class KeptVerdicts:
    """Kept in the memory of this process, by a text that tells a message and a group from all others."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: str, verdict: Event) -> None:
        """Keep a verdict for as long as senders go on trying."""
        self._kept.pop(key, None)
        while len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        if reason := verdict.get("reason"):
            verdict = {**verdict, "reason": reason[:_LONGEST_REASON]}
        self._kept[key] = _Kept(verdict, time.monotonic() + MAIL_WINDOW)

    def get(self, key: str) -> Event | None:
        found = self._kept.get(key)
        return found.verdict if found is not None and time.monotonic() < found.until else None

    def forget(self, key: str) -> None:
        """Forget a verdict, if there is one: the message is answered for good."""
        self._kept.pop(key, None)
