"""How a connection logs in: with a password, or with an access token."""

from typing import TYPE_CHECKING

from protocols.mail.imap.errors import IMAPRefused
from protocols.mail.oauth.source import TokenRefused, TokenSource
from protocols.secret import Secret

if TYPE_CHECKING:
    from protocols.mail.imap.connection import IMAPConnection


class Login:
    """The login of one account. ``source`` gives its tokens, if it has no password."""

    def __init__(self, username: str, password: Secret | None, source: TokenSource | None) -> None:
        self._username = username
        self._password = password
        self._source = source

    def stamp(self) -> object:
        """Return a value that changes when another attempt may fare better. It costs a stat."""
        return None if self._source is None else self._source.stamp()

    async def log_in(self, connection: "IMAPConnection") -> None:
        """Log in. Raises Disconnected, IMAPRefused, and OSError if there is no token yet."""
        if self._source is None:
            await connection.login(self._username, self._password.reveal() if self._password else "")
            return
        try:
            await self._with_token(connection, self._source)
        except TokenRefused as error:
            raise IMAPRefused(str(error)) from error

    async def _with_token(self, connection: "IMAPConnection", source: TokenSource) -> None:
        """A token that was good for an hour may have ended a moment ago: ask once for another."""
        token = await source.token()
        try:
            await connection.login_with_token(self._username, token)
        except IMAPRefused:
            if (fresh := await source.token(fresh=True)) == token:
                raise
            await connection.login_with_token(self._username, fresh)
