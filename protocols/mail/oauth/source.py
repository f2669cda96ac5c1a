"""Where an access token comes from."""

from typing import Protocol


class TokenSource(Protocol):
    """Gives the access token of one account."""

    async def token(self, *, fresh: bool = False) -> str:
        """Return an access token. ``fresh``: not the one that was given before, which a server has just refused.

        Raises NoTokenYet if the next attempt may succeed, and TokenRefused if somebody has to do something first.
        """

    def stamp(self) -> object:
        """Return a value that is another one when a file that the token is made from has changed. It costs a stat."""


class NoTokenYet(OSError):
    """There is no token now: the endpoint is away, or busy. The message is one sentence without secrets."""


class TokenRefused(Exception):
    """There will be no token until somebody repairs the account or its settings. The message is one sentence without
    secrets."""
