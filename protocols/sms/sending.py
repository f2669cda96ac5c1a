"""Posts to a provider: the only code here that opens a connection."""

import asyncio
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from protocols.errors import NotSent
from protocols.sms.provider import Answer, Provider, Request, Text

TIMEOUT = 10.0
"""Seconds for one request, from the connection to the end of the answer."""
PARALLEL = 16
"""Connections at once; more texts wait, and their time runs."""
LONGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read: enough for an error's code."""


class Sender:
    """One HTTP session, from the first text until :meth:`close`."""

    def __init__(self, provider: Provider, timeout: float = TIMEOUT) -> None:
        self._provider = provider
        self._timeout = timeout
        self._sessions: list[aiohttp.ClientSession] = []
        self._posts: set[asyncio.Future[None]] = set()

    async def send(self, text: Text) -> None:
        """Return when the provider has taken it. Raises NotSent, PermanentFailure, AccountRefused."""
        over = asyncio.get_running_loop().create_future()
        self._posts.add(over)
        try:
            self._provider.judge(await self._post(self._provider.request(text)))
        finally:
            self._posts.discard(over)
            over.set_result(None)

    async def close(self, grace: float = 0.0) -> None:
        """What is under way has ``grace`` seconds: a text whose answer is not heard is sent again, and comes twice.
        Idempotent. A later text opens another session."""
        if self._posts:
            await asyncio.wait(self._posts, timeout=grace)
        while self._sessions:
            await self._sessions.pop().close()

    async def _post(self, request: Request) -> Answer:
        # No redirects: 302 would make the POST a GET, whose 200 says nothing, and no other host may see the login.
        try:
            async with self._session().request(
                request.method, request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                asked = retry_after(response.headers.get("retry-after", ""), now=time.time())
                return Answer(response.status, await _beginning(response), asked)
        except TimeoutError as error:
            raise NotSent(f"{_host(request)} did not answer within {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NotSent(f"{_host(request)} gave no answer: {_reason(error)}") from error

    def _session(self) -> aiohttp.ClientSession:
        """Made where a loop runs, which is not yet so where servers are made."""
        if not self._sessions:
            self._sessions.append(
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=self._timeout),
                    connector=aiohttp.TCPConnector(limit=PARALLEL),
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )
        return self._sessions[0]


def retry_after(header: str, *, now: float) -> float | None:
    """Seconds from ``now`` (Unix time), by a number of them or a date (RFC 9110, 10.2.3); None for what is neither."""
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
        if len(body) > LONGEST_ANSWER:
            break
    return bytes(body[:LONGEST_ANSWER])


def _host(request: Request) -> str | None:
    """Of the URL this alone: its path and query may be secret."""
    return urlsplit(request.url).hostname


def _reason(error: Exception) -> str:
    """In an error of the connection are only names of hosts; others may quote the URL, or what the other side said."""
    return str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
