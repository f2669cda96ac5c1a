"""Logins to the console in browsers. Sessions outlive a reload, and end with the process."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from protocols.secret import Secret

MOST = 1000
"""Sessions at a time; if there are more, the one that began first ends."""
EACH = 20
"""Sessions of one user; if there are more, the one that was used longest ago ends."""


@dataclass(frozen=True)
class Lifetime:
    """How long sessions last, in seconds."""

    whole: float
    """Since the login."""
    idle: float
    """Since the last use."""


class Session:
    """One login."""

    def __init__(self, user: str, hashed: Secret, began: float) -> None:
        self.user = user
        self.hashed = hashed
        """The hash of the password that it began with."""
        self.began = began
        self.used = began
        """By the clock of :class:`Sessions`."""
        self.closed = False


class Sessions:
    """Sessions by their tokens, of which only digests are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, user: str, hashed: Secret) -> str:
        """Begin a session, and return its token."""
        self._make_room(user)
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = Session(user, hashed, self._clock())
        return token

    def of(self, token: str, lifetime: Lifetime) -> Session | None:
        """Return the session of ``token``, which is used now; None if it has ended."""
        session = self._sessions.get(_digest(token))
        return session if session is not None and self.use(session, lifetime) else None

    def use(self, session: Session, lifetime: Lifetime) -> bool:
        """Note that ``session`` is used now. Return whether it lasts."""
        now = self._clock()
        if now >= min(session.began + lifetime.whole, session.used + lifetime.idle):
            session.closed = True
        session.used = now
        return not session.closed

    def close(self, token: str) -> None:
        """End a session; its event streams end, too."""
        self._close(_digest(token))

    def _make_room(self, user: str) -> None:
        own = [digest for digest, each in self._sessions.items() if each.user == user and not each.closed]
        if len(own) >= EACH:
            self._close(min(own, key=lambda digest: self._sessions[digest].used))
        if len(self._sessions) >= MOST:
            self._close(next(iter(self._sessions)))

    def _close(self, digest: bytes) -> None:
        if (session := self._sessions.pop(digest, None)) is not None:
            session.closed = True


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
