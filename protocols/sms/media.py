"""Fetches the media of a text. Its sender chose what is there, and perhaps the URL, so all is bounded and checked."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

LoginFor = Callable[[str], Mapping[str, str]]
"""Returns the header fields with our login for a URL; none for a host that is not the provider's."""

REDIRECTS = 5
_CHUNK = 64 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that a gateway of the network turns into the IPv4 address in their last 32 bits (RFC 6052)."""
_MOVED = (301, 302, 303, 307, 308)


class MediaNotFetched(Exception):
    """The media is not here, is too large, of another type, or at an address that is not public."""


@dataclass(frozen=True)
class FetchedMedia:
    """What was at the URL."""

    content: bytes
    content_type: str
    """As its server says it, in lower case and without parameters: ``image/jpeg``."""


@dataclass(frozen=True)
class MediaLimits:
    """What is fetched."""

    size: int
    """Bytes."""
    seconds: float
    """For everything, redirects included."""
    types: Collection[str]
    """Content types, whole (``application/pdf``) or their beginnings (``image/``)."""
    private: bool = False
    """Whether addresses that are not public may be asked: for a phone on the same network, and for tests."""


async def fetch(url: str, login_for: LoginFor, limits: MediaLimits) -> FetchedMedia:
    """Return what is at ``url``. Raises MediaNotFetched."""
    try:
        async with asyncio.timeout(limits.seconds), _session(limits) as session:
            return await _follow(session, URL(url), login_for, limits)
    except TimeoutError as error:
        raise MediaNotFetched(f"the media did not arrive within {limits.seconds:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError, TypeError) as error:
        raise MediaNotFetched(f"the media gave no response: {type(error).__name__}") from error


def _session(limits: MediaLimits) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(resolver=_PublicResolver(limits.private), use_dns_cache=False, limit=1)
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


async def _follow(session: aiohttp.ClientSession, url: URL, login_for: LoginFor, limits: MediaLimits) -> FetchedMedia:
    for _ in range(REDIRECTS + 1):
        _check(url, limits.private)
        # The login is asked for anew at each redirect: another host gets none.
        headers = {"accept-encoding": "identity", **login_for(str(url))}
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status not in _MOVED:
                return await _read(response, limits)
            target = url.join(URL(response.headers.get("location", "")))
            if url.scheme == "https" and target.scheme != "https":
                raise MediaNotFetched("the media's server leads from https to a URL without it")
            url = target
    raise MediaNotFetched(f"the media's server leads on more than {REDIRECTS} times")


async def _read(response: aiohttp.ClientResponse, limits: MediaLimits) -> FetchedMedia:
    if response.status != 200:
        raise MediaNotFetched(f"the media's server answered {response.status}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not any(kind == each or (each.endswith("/") and kind.startswith(each)) for each in limits.types):
        raise MediaNotFetched(f"the media is {kind[:100]!r}, which is not one of {', '.join(limits.types)}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaNotFetched("the media is compressed, which was not asked for")
    if (response.content_length or 0) > limits.size:
        raise _too_large(limits)
    content = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        content += chunk
        if len(content) > limits.size:
            raise _too_large(limits)
    return FetchedMedia(bytes(content), kind)


def _too_large(limits: MediaLimits) -> MediaNotFetched:
    return MediaNotFetched(f"the media has more than {limits.size} bytes")


def _check(url: URL, private: bool) -> None:
    """Raise MediaNotFetched for a URL that is not fetched. A host that is a name is checked when it is resolved."""
    if url.scheme not in ("http", "https") or not url.host:
        raise MediaNotFetched("the media has no URL with http:// or https://")
    if url.user is not None or url.password is not None:
        raise MediaNotFetched("the media's URL has a login in it")
    if not private and _is_address(url.host) and not is_public(url.host):
        raise _private()


def _private() -> MediaNotFetched:
    return MediaNotFetched("the media is at an address that is not public")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_public(host: str) -> bool:
    """Whether an address is one of the whole internet: not of this machine, a private network or a cloud's metadata,
    also where it is written as an IPv6 address that contains such a one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    inner = _contained(address) if isinstance(address, ipaddress.IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    return address.is_global and not address.is_multicast and not address.is_reserved


def _contained(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that packets to ``address`` come to; None if it is a plain IPv6 address."""
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


class _PublicResolver(AbstractResolver):
    """Resolves a name once: what it returns is what is connected to, so that the name cannot become another one."""

    def __init__(self, private: bool) -> None:
        self._private = private
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises MediaNotFetched if one of the addresses is not public."""
        found = await self._resolver.resolve(host, port, family)
        if not self._private and not all(is_public(each["host"]) for each in found):
            raise _private()
        return found

    async def close(self) -> None:
        await self._resolver.close()
