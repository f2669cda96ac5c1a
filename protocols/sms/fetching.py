"""Fetches what a provider's request names by its URL: a public key, or the confirmation of a subscription.

The requests that ask for a key are not verified yet, so all is bounded: the host by the provider's file, the rest
here. No redirects are followed.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import aiohttp

logger = logging.getLogger(__name__)

TIMEOUT = 5.0
"""Seconds for one request, from connecting to the end of the response."""
LONGEST = 64 * 1024
"""Bytes of a response; a longer one is refused."""
KEPT = 16
"""Keys that are kept; the one that was used longest ago makes room."""
KEEP = 86400.0
"""Seconds for which a key is kept."""
MOST_AT_ONCE = 8
"""Requests at a time."""
MOST_A_MINUTE = 600
"""Requests in a minute: an attacker who knows the form of the URLs could have us ask for any number of them. It is so
large that he cannot easily use up what the provider's own key needs."""


class Fetcher:
    """Fetches and keeps public keys, for the webhook called ``name``. ``clock`` gives seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._keys: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._running: dict[str, asyncio.Task[bytes | None]] = {}
        self._begun: deque[float] = deque(maxlen=MOST_A_MINUTE)

    async def key(self, url: str) -> bytes | None:
        """Return what is at ``url``, perhaps as it was some hours ago; None if it cannot be fetched now."""
        until, key = self._keys.get(url, (0.0, b""))
        if until > self._clock():
            self._keys.move_to_end(url)
            return key
        return await self._once(url, self._fetch_key)

    async def confirm(self, url: str) -> bool:
        """Get ``url``; return whether the answer was 200."""
        return await self._once(url, self._fetch) is not None

    async def close(self) -> None:
        """Cancel what is under way."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _once(self, url: str, fetch: Callable[[str], Coroutine[Any, Any, bytes | None]]) -> bytes | None:
        """Let all that ask for ``url`` at the same time wait for one request."""
        task = self._running.get(url)
        if task is None:
            if self._is_too_much():
                logger.warning("sms %s: too many URLs to fetch, so this one is not fetched now", self._name)
                return None
            task = self._running[url] = asyncio.create_task(fetch(url))
            task.add_done_callback(lambda _: self._running.pop(url, None))
        return await asyncio.shield(task)

    def _is_too_much(self) -> bool:
        now = self._clock()
        if len(self._running) >= MOST_AT_ONCE:
            return True
        if len(self._begun) == MOST_A_MINUTE and now - self._begun[0] < 60.0:
            return True
        self._begun.append(now)
        return False

    async def _fetch_key(self, url: str) -> bytes | None:
        key = await self._fetch(url)
        if key is not None:
            self._keys[url] = (self._clock() + KEEP, key)
            while len(self._keys) > KEPT:
                self._keys.popitem(last=False)
        return key

    async def _fetch(self, url: str) -> bytes | None:
        try:
            return await _get(url)
        except TimeoutError:
            failure = f"did not answer within {TIMEOUT:g} s"
        except _UnfitError as error:
            failure = str(error)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = f"gave no response: {type(error).__name__}"
        logger.warning("sms %s: %s %s", self._name, urlsplit(url).hostname, failure)  # its path may be secret
        return None


class _UnfitError(Exception):
    """The answer is not one that is used."""


async def _get(url: str) -> bytes:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise _UnfitError(f"answered {response.status}")
        body = bytearray()
        async for chunk in response.content.iter_chunked(4096):
            body += chunk
            if len(body) > LONGEST:
                raise _UnfitError(f"answered with more than {LONGEST} bytes")
        return bytes(body)
