"""Logins to the console in browsers. Sessions outlive a reload, and end with the process."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

MOST = 1000
"""Sessions at a time; the one that began first ends when there are more."""


class Session:
    """One login."""

    def __init__(self, user: str, ends: float) -> None:
        self.user = user
        self.ends = ends
        """By the clock of :class:`Sessions`."""
        self.closed = False


class Sessions:
    """Sessions by their tokens, of which only digests are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, user: str, seconds: float) -> str:
        """Begin a session, and return its token."""
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = Session(user, self._clock() + seconds)
        if len(self._sessions) > MOST:
            self._sessions.popitem(last=False)[1].closed = True
        return token

    def of(self, token: str) -> Session | None:
        """Return the session of ``token``; None if it has ended."""
        session = self._sessions.get(_digest(token))
        return session if session is not None and self.lasts(session) else None

    def lasts(self, session: Session) -> bool:
        return not session.closed and self._clock() < session.ends

    def close(self, token: str) -> None:
        """End a session; its event streams end, too."""
        if (session := self._sessions.pop(_digest(token), None)) is not None:
            session.closed = True


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
