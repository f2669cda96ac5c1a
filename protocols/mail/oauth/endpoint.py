"""Asks an authorization server for tokens (RFC 6749)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from protocols.mail.oauth.source import NoTokenYet, TokenRefused

TIMEOUT = 30.0
"""Seconds for one request, from connecting to the end of the response."""
LONGEST_RESPONSE = 256 * 1024
"""Bytes of a response that are read. Tokens of Microsoft have some thousand."""
LONGEST_REASON = 300
"""Characters of the server's own words that are repeated."""
SHORTEST_LIFE, LONGEST_LIFE = 60.0, 86400.0
"""Seconds within which a token's life is taken as said."""
DEFAULT_LIFE = 3600.0
"""Seconds of a token of which the server does not say how long it lives."""
_JSON = {"Accept": "application/json"}
_LATER = frozenset({"temporarily_unavailable", "server_error"})
"""Error codes that say that another attempt may succeed."""


@dataclass(frozen=True)
class Granted:
    """What a token endpoint answers (RFC 6749, 5.1)."""

    access_token: str
    expires_in: float
    """Seconds."""
    refresh_token: str = ""
    """Empty if there is none, or if the one that was used goes on."""


class OAuthError(TokenRefused):
    """The endpoint has refused (RFC 6749, 5.2)."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code
        """``invalid_grant``, ``authorization_pending`` ..."""


async def ask(url: str, form: Mapping[str, str]) -> Granted:
    """Post ``form`` and return the tokens. Raises OAuthError, TokenRefused and NoTokenYet."""
    answer = await post(url, form)
    token = answer.get("access_token")
    if not isinstance(token, str) or not (token and token.isascii() and token.isprintable()):
        raise NoTokenYet(f"{_host(url)} answered without an access token")
    again = answer.get("refresh_token")
    return Granted(token, _life(answer.get("expires_in")), again if isinstance(again, str) else "")


async def post(url: str, form: Mapping[str, str]) -> dict[str, Any]:
    """Post ``form`` and return the JSON object of the answer. Raises OAuthError, TokenRefused and NoTokenYet."""
    try:
        # No redirects: they would show another host our secret.
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session,
            session.post(url, data=dict(form), headers=_JSON, allow_redirects=False) as response,
        ):
            status, body = response.status, await _beginning(response)
    except TimeoutError as error:
        raise NoTokenYet(f"{_host(url)} did not answer within {TIMEOUT:g} s") from error
    except aiohttp.ClientConnectorError as error:
        raise NoTokenYet(f"{_host(url)}: {error.os_error.strerror or error.os_error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise NoTokenYet(f"{_host(url)} gave no answer: {type(error).__name__}") from error
    return _judge(url, status, _object(body))


def _judge(url: str, status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status == 200:
        return answer
    said = answer.get("error")
    code = said if isinstance(said, str) else ""
    if status >= 500 or status == 429 or code in _LATER:
        raise NoTokenYet(f"{_host(url)} answered {status}")
    if not code:
        raise TokenRefused(f"{_host(url)} answered {status}")
    raise OAuthError(
        code, plain(f"{_host(url)} refused: {code}: {answer.get('error_description') or 'no reason given'}")
    )


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(16 * 1024):
        body += piece
        if len(body) > LONGEST_RESPONSE:
            break
    return bytes(body[:LONGEST_RESPONSE])


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _life(said: object) -> float:
    try:
        seconds = float(said)  # type: ignore[arg-type]  # some servers say it as text; anything else raises
    except (TypeError, ValueError, OverflowError):
        return DEFAULT_LIFE
    return min(max(seconds, SHORTEST_LIFE), LONGEST_LIFE) if seconds == seconds else DEFAULT_LIFE


def plain(said: str) -> str:
    """Return one line of what a server said, without control characters: Microsoft adds lines with trace ids."""
    line = (said.splitlines() or [""])[0]
    return "".join(char if char.isprintable() else " " for char in line)[:LONGEST_REASON]


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
