"""Logins to the console in browsers. Sessions outlive a reload, and end with the gateway: its workers share them."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from protocols.secret import Secret

MOST = 1000
"""Sessions at a time; if there are more, the one that began first ends."""
EACH = 20
"""Sessions of one user; if there are more, the one that was used longest ago ends."""
TELL = 30.0
"""Seconds after which other workers are told again that a session is used; less where it ends soon without."""


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
        self.told = began
        """When other workers were told of it last."""
        self.closed = False


class Sessions:
    """Sessions by their tokens, of which only digests are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._closed: OrderedDict[bytes, None] = OrderedDict()
        """Sessions that ended last. Another worker may tell of their use before it hears of their end."""
        self.tell: Callable[[Mapping[str, Any]], object] | None = None
        """Tells other workers what has become of a session, as plain data for their :meth:`learn`. Their clock is the
        same."""

    def open(self, user: str, hashed: Secret) -> str:
        """Begin a session, and return its token."""
        self._make_room(user)
        token = secrets.token_urlsafe(32)
        self._sessions[digest := _digest(token)] = session = Session(user, hashed, self._clock())
        self._tell(digest, session)
        return token

    def of(self, token: str, lifetime: Lifetime) -> Session | None:
        """Return the session of ``token``, which is used now; None if it has ended."""
        session = self._sessions.get(digest := _digest(token))
        if session is None or not self.use(session, lifetime):
            return None
        if session.used - session.told >= min(TELL, lifetime.idle / 10):
            self._tell(digest, session)
        return session

    def use(self, session: Session, lifetime: Lifetime) -> bool:
        """Note that ``session`` is used now. Return whether it lasts."""
        now = self._clock()
        if now >= min(session.began + lifetime.whole, session.used + lifetime.idle):
            session.closed = True
        session.used = now
        return not session.closed

    def close(self, token: str) -> None:
        """End a session; its event streams end, too."""
        if (session := self._close(digest := _digest(token))) is not None:
            self._tell(digest, session)

    def learn(self, told: Mapping[str, Any]) -> None:
        """Another worker has told what has become of a session."""
        digest = bytes.fromhex(told["digest"])
        if told["closed"]:
            self._close(digest)
        if digest in self._closed:
            return
        if (session := self._sessions.get(digest)) is None:
            self._make_room(told["user"])
            self._sessions[digest] = session = Session(told["user"], Secret(told["hashed"]), told["began"])
        session.used = max(session.used, told["used"])

    def _tell(self, digest: bytes, session: Session) -> None:
        session.told = session.used
        if self.tell is not None:
            facts = {"user": session.user, "hashed": session.hashed.reveal(), "began": session.began}
            self.tell({"digest": digest.hex(), **facts, "used": session.used, "closed": session.closed})

    def _make_room(self, user: str) -> None:
        own = [digest for digest, each in self._sessions.items() if each.user == user and not each.closed]
        if len(own) >= EACH:
            self._close(min(own, key=lambda digest: self._sessions[digest].used))
        if len(self._sessions) >= MOST:
            self._close(next(iter(self._sessions)))

    def _close(self, digest: bytes) -> Session | None:
        if (session := self._sessions.pop(digest, None)) is not None:
            session.closed = True
        self._closed[digest] = None
        if len(self._closed) > MOST:
            self._closed.popitem(last=False)
        return session


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
