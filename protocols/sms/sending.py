"""Posts texts to a provider's API. No other code of this package opens a connection."""

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from protocols.errors import NotSent, OutcomeUnknown
from protocols.sms.provider import OutgoingText, Provider, ProviderResponse, Request

TIMEOUT = 10.0
"""Seconds for one request, from connecting to the end of the response."""
PARALLEL = 16
"""Connections at a time; further texts wait, within their own timeout."""
LONGEST_RESPONSE = 64 * 1024
"""Bytes of a response that are read: enough for an error code."""


class ProviderClient:
    """Sends texts through one HTTP session, from the first text until :meth:`close`."""

    def __init__(self, provider: Provider[Any], timeout: float = TIMEOUT) -> None:
        self._provider = provider
        self._timeout = timeout
        self._sessions: list[aiohttp.ClientSession] = []
        self._posts: set[asyncio.Future[None]] = set()

    async def send(self, text: OutgoingText) -> str:
        """Send ``text``; return the provider's id of it, or an empty one, when the provider has it. Raises NotSent,
        OutcomeUnknown, PermanentFailure, AccountRefused."""
        over = asyncio.get_running_loop().create_future()
        self._posts.add(over)
        try:
            self._provider.judge(response := await self._post(self._provider.request(text)))
            return self._provider.sent_id(response)
        finally:
            self._posts.discard(over)
            over.set_result(None)

    async def close(self, grace: float = 0.0) -> None:
        """Close the session after at most ``grace`` seconds for the requests under way. Idempotent.

        A text whose response is lost is sent again, and arrives twice. A text after this opens another session.
        """
        if self._posts:
            await asyncio.wait(self._posts, timeout=grace)
        while self._sessions:
            await self._sessions.pop().close()

    async def _post(self, request: Request) -> ProviderResponse:
        # No redirects: a 302 would turn the POST into a GET, whose 200 means nothing, and show another host our login.
        try:
            async with self._session().request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                asked = parse_retry_after(response.headers.get("retry-after", ""), now=time.time())
                return ProviderResponse(response.status, await _beginning(response), asked)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:  # it has got nothing
            raise NotSent(f"{_host(request)} cannot be reached: {_reason(error)}") from error
        except TimeoutError as error:
            raise OutcomeUnknown(f"{_host(request)} did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise OutcomeUnknown(f"{_host(request)} gave no response: {_reason(error)}") from error

    def _session(self) -> aiohttp.ClientSession:
        """Return the session. It is made here, because no loop is running yet when servers are made."""
        if not self._sessions:
            self._sessions.append(
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=self._timeout / 2),
                    connector=aiohttp.TCPConnector(limit=PARALLEL),
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )
        return self._sessions[0]


def parse_retry_after(header: str, *, now: float) -> float | None:
    """Seconds from ``now`` (Unix time) in a Retry-After header, which is a number or a date (RFC 9110, 10.2.3).

    None if it is neither.
    """
    said = header.strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - now)
    except (ValueError, TypeError, LookupError, OverflowError, OSError):
        return None


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(4096):
        body += chunk
        if len(body) > LONGEST_RESPONSE:
            break
    return bytes(body[:LONGEST_RESPONSE])


def _host(request: Request) -> str | None:
    """Return the host of the URL, whose path and query may be secret."""
    return urlsplit(request.url).hostname


def _reason(error: Exception) -> str:
    """Say why, without secrets: a connector's error has only host names, others may quote the URL or a response."""
    return str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
