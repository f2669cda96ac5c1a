"""Numbers on messages, by which a receiver sees that some have not arrived.

Each sender numbers its messages to each topic. The numbers of a topic begin with a new token whenever the sender has
forgotten where it was, so that a restart looks like a new sender and never like a gap.
"""

import secrets
from collections import OrderedDict
from collections.abc import Hashable

MOST = 10_000
"""Topics, or pairs of a topic and a sender, that are remembered."""


class Numbers:
    """The numbers that a sender gives."""

    def __init__(self) -> None:
        self._mark = secrets.token_bytes(6)
        self._last: OrderedDict[Hashable, tuple[bytes, int]] = OrderedDict()

    def next(self, topic: Hashable) -> tuple[bytes, int]:
        """Return the token, and the number of the next message to ``topic``."""
        token, number = self._last.pop(topic, (b"", 0))
        if len(self._last) >= MOST:
            self._last.popitem(last=False)
        self._last[topic] = given = (token or self._mark + secrets.token_bytes(4), number + 1)
        return given

    def take_back(self, topic: Hashable) -> None:
        """The message with the last number to ``topic`` is not sent: the next one gets it."""
        token, number = self._last[topic]
        self._last[topic] = token, number - 1

    def is_own(self, token: bytes) -> bool:
        """Whether a message with this token is this sender's."""
        return token.startswith(self._mark)


class Gaps:
    """Counts what has not arrived. It is certain only once a later message of the same sender has."""

    def __init__(self) -> None:
        self.missed = 0
        self._last: OrderedDict[tuple[Hashable, bytes], int] = OrderedDict()
        self._senders: dict[Hashable, set[bytes]] = {}
        """The tokens of each topic: to leave one is not to look at all of them."""

    def arrived(self, topic: Hashable, token: bytes, number: int) -> int:
        """Return how many messages of this sender to ``topic`` are missing before this one."""
        before = self._last.pop((topic, token), None)
        if before is None:
            if len(self._last) >= MOST:
                self._forget(*self._last.popitem(last=False)[0])
            self._senders.setdefault(topic, set()).add(token)
        self._last[topic, token] = number if before is None else max(before, number)
        missing = 0 if before is None else max(0, number - before - 1)
        self.missed += missing
        return missing

    def left(self, topic: Hashable) -> None:
        """Forget ``topic``: what is sent to it from now on is not for this process."""
        for token in self._senders.pop(topic, ()):
            del self._last[topic, token]

    def _forget(self, topic: Hashable, token: bytes) -> None:
        tokens = self._senders[topic]
        tokens.discard(token)
        if not tokens:
            del self._senders[topic]
