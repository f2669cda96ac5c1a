"""Finds who sends a request: by the cookie of a session, by HTTP Basic, or by the token for metrics."""

import base64
import binascii
import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie

from gateway.config.settings import ConsoleSettings
from gateway.console.http.request import Refused, Request
from gateway.console.sessions import Lifetime, Session, Sessions
from protocols.access.logins import Logins, Outcome
from protocols.secret import Secret

audit = logging.getLogger("gateway.console.audit")  # beside what was changed, who came

COOKIE = "gateway_session"
HOST = "__Host-"
"""The prefix of the cookie if the request is secure: no other host, and no page without TLS, can set such a cookie."""
LONGEST_NAME, LONGEST_PASSWORD = 256, 1024
"""Characters and bytes."""
_ASK = (b"www-authenticate", b'Basic realm="gateway", charset="UTF-8"')
_LATER = ((b"retry-after", b"5"),)
_WRONG = {
    Outcome.WRONG: (401, "the user or the password is wrong"),
    Outcome.BUSY: (503, "too many passwords wait to be checked; try again in a moment"),
    Outcome.UNAVAILABLE: (503, "the password cannot be checked; the log says why"),
}


@dataclass(frozen=True)
class Visitor:
    """A person or program that may use the console. ``user`` is empty where it has no users."""

    user: str
    stays: Callable[[], Awaitable[bool]]
    """Whether the login lasts. A reload may have ended it."""


class Visitors:
    """Checks logins. Where the settings name no users, everybody who reaches the console may use it."""

    def __init__(
        self, settings: ConsoleSettings, sessions: Sessions, logins: Logins | None, now: Callable[[], Logins | None]
    ) -> None:
        """``logins`` is None where the settings name no users. ``now`` returns those of the gateway that
        serves when it is called, which may be a later one."""
        self._settings = settings
        self._sessions = sessions
        self._lifetime = Lifetime(settings.session, settings.session_idle)
        self._logins = logins
        self._now = now

    @property
    def log_in(self) -> bool:
        """Whether a visitor has to log in."""
        return self._logins is not None

    async def of(self, request: Request) -> Visitor | None:
        """Return who sends the request; None if that is not known. Raises Refused for a wrong password."""
        if self._logins is None:
            return Visitor("", self._needs_no_login)
        kind, _, value = (request.header(b"authorization") or "").partition(" ")
        if kind.lower() == "basic":
            return await self._by_password(request, *_basic(value))
        return await self._by_cookie(request)

    async def needed(self, request: Request) -> Visitor:
        """Return who sends the request. Raises Refused."""
        if (found := await self.of(request)) is None:
            raise Refused(401, "log in first", *self._asking(request))
        return found

    async def may_measure(self, request: Request) -> bool:
        """Whether the request may read the metrics: with a login, or with the token for them."""
        token = self._settings.metrics_token
        kind, _, value = (request.header(b"authorization") or "").partition(" ")
        if token and kind.lower() == "bearer":
            return hmac.compare_digest(value.strip().encode(), token.reveal().encode())
        return await self.of(request) is not None

    async def enter(self, request: Request, username: str, password: str) -> bytes:
        """Log in, and return the cookie. Raises Refused."""
        if self._logins is None:
            raise Refused(400, "this console has no users: there is nothing to log in to")
        hashed = await self._checked(request, username, password)
        self._close(request)
        token = self._sessions.open(username, hashed)
        audit.info("login by %s", self.describe(request, username))
        return self._cookie(request, token, int(self._settings.session))

    def leave(self, request: Request) -> bytes:
        """Log out, and return the cookie that replaces the present one."""
        self._close(request)
        return self._cookie(request, "", 0)

    def _close(self, request: Request) -> None:
        if (token := self._token(request)) is not None:
            self._sessions.close(token)

    def address(self, request: Request) -> str:
        """Return the address of the client; of one behind a proxy of ours, the address that the proxy tells."""
        client = request.scope["client"]
        return client[0] if client else ""

    def describe(self, request: Request, user: str) -> str:
        """Return who sends the request, for the log."""
        return f"{user or 'somebody'} from {self.address(request) or 'a Unix socket'}"

    def is_secure(self, request: Request) -> bool:
        """Whether the request is encrypted on its way from the client."""
        return request.scope["scheme"] == "https"

    async def _by_password(self, request: Request, username: str, password: str) -> Visitor:
        hashed = await self._checked(request, username, password)
        return Visitor(username, partial(self._has, username, hashed))

    async def _needs_no_login(self) -> bool:
        return self._now() is None

    async def _has(self, user: str, hashed: Secret) -> bool:
        """Whether the user has a password with this hash now."""
        logins = self._now()
        return logins is not None and await logins.hash_of(user) == hashed

    async def _checked(self, request: Request, username: str, password: str) -> Secret:
        """Return the hash of the password, from before that was checked: if it changes meanwhile, the login ends at
        once. Raises Refused if the password is wrong."""
        assert self._logins is not None
        address, outcome = self.address(request), Outcome.WRONG
        hashed = await self._logins.hash_of(username)
        if len(username) <= LONGEST_NAME and len(password.encode()) <= LONGEST_PASSWORD:
            outcome = await self._logins.check(username, password.encode(), address)
        if outcome is Outcome.RIGHT and hashed is not None:
            return hashed
        audit.warning("%s login of %r from %s", outcome.value, username[:LONGEST_NAME], address)
        status, said = _WRONG[outcome]
        raise Refused(status, said, *(self._asking(request) if status == 401 else _LATER))

    async def _by_cookie(self, request: Request) -> Visitor | None:
        token = self._token(request)
        session = self._sessions.of(token, self._lifetime) if token is not None else None
        if session is None or not await self._stays(session):
            return None
        return Visitor(session.user, partial(self._stays, session))

    async def _stays(self, session: Session) -> bool:
        """Whether a session lasts: its user still has the password that it began with."""
        if not await self._has(session.user, session.hashed):
            session.closed = True
        return self._sessions.use(session, self._lifetime)

    def _asking(self, request: Request) -> tuple[tuple[bytes, bytes], ...]:
        """A page asks for the password itself; a browser would open a window of its own."""
        return (_ASK,) if request.header(b"sec-fetch-site") is None else ()

    def _cookie(self, request: Request, token: str, seconds: int) -> bytes:
        secure = "; Secure" if self.is_secure(request) else ""
        name = self._cookie_name(request)
        return f"{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}".encode()

    def _cookie_name(self, request: Request) -> str:
        """Return the name of the cookie. It has the port that the browser connects to: a browser sends a cookie to
        every port of a host, and each console needs its own."""
        prefix, port = HOST if self.is_secure(request) else "", request.port
        return f"{prefix}{COOKIE}_{port}" if port is not None else f"{prefix}{COOKIE}"

    def _token(self, request: Request) -> str | None:
        try:
            found = SimpleCookie(request.header(b"cookie") or "").get(self._cookie_name(request))
        except CookieError:
            return None
        return found.value if found is not None else None


def _basic(value: str) -> tuple[str, str]:
    """Raises Refused."""
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise Refused(400, "the field Authorization cannot be read")
    return name, password
