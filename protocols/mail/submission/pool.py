"""Connections that are kept open for the next mail."""

import asyncio
from collections import deque

from protocols.mail.submission.connection import Connection
from protocols.tasks import LAST_WORDS, Tasks


class Pool:
    """Keeps each connection for ``seconds`` after a mail. The one that was used last is taken first, so that those that
    are no longer needed grow old."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: deque[Connection] = deque()
        """The one that was used last is at the right."""
        self._timer: asyncio.TimerHandle | None = None
        self._goodbyes = Tasks("submission")

    def take(self) -> Connection | None:
        """Return an open connection, or None. Those that the server has closed meanwhile are dropped."""
        while self._kept:
            connection = self._kept.pop()
            if connection.usable:
                return connection
            connection.abort()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep ``connection``, at which no answer is outstanding, or close it if nothing is kept."""
        if not self._seconds:
            self._say_goodbye(connection)
            return
        connection.keep()
        self._kept.append(connection)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._close_old)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._kept and (left := self._kept[0].kept_since + self._seconds - loop.time()) <= 0:
            self._say_goodbye(self._kept.popleft())
        if self._kept:
            self._timer = loop.call_later(left, self._close_old)

    def _say_goodbye(self, connection: Connection) -> None:
        """Nobody waits for the answer to QUIT: the mail is taken when its own answer is here."""
        self._goodbyes.spawn(connection.quit(), name="QUIT")

    async def close(self) -> None:
        """Close all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._kept:
            self._say_goodbye(self._kept.popleft())
        await self._goodbyes.drain(LAST_WORDS)
        await self._goodbyes.cancel()
