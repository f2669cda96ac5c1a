"""Keeps an access token until shortly before it expires."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from protocols.mail.oauth.endpoint import Granted

EARLY = 300.0
"""Seconds before its end at which a token is renewed: a login takes time, and clocks differ."""
JUST_MADE = 10.0
"""Seconds for which a token is not asked for again, though a server refuses it: all connections of an account are
refused together, and one new token is for all of them."""


@dataclass(frozen=True)
class _Kept:
    granted: Granted
    at: float
    stamp: object

    def serves(self, now: float, stamp: object, *, fresh: bool) -> bool:
        life = self.granted.expires_in
        limit = JUST_MADE if fresh else max(life - EARLY, life / 2)
        return stamp == self.stamp and now - self.at < limit


class CachedSource(ABC):
    """A :class:`~protocols.mail.oauth.source.TokenSource` that asks an endpoint, and keeps its answer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: _Kept | None = None
        self._one_at_a_time = asyncio.Lock()

    async def token(self, *, fresh: bool = False) -> str:
        async with self._one_at_a_time:
            stamp = self.stamp()
            if self._kept is None or not self._kept.serves(self._clock(), stamp, fresh=fresh):
                self._kept = None
                self._kept = _Kept(await self.grant(), self._clock(), self.stamp())
            return self._kept.granted.access_token

    @abstractmethod
    async def grant(self) -> Granted:
        """Ask for a token. Raises NoTokenYet and TokenRefused."""

    @abstractmethod
    def stamp(self) -> object:
        """Return a value that changes with the files that the token is made from."""
