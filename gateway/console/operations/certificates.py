"""The operation ``certificates``."""

import asyncio
from collections.abc import Iterator
from typing import Any, TypedDict

from gateway.config.settings import Settings
from gateway.console.here import Here
from gateway.console.operation import operation
from protocols.net.tls import TLS


class CertificateFacts(TypedDict):
    """A file with certificates."""

    server: str
    """The name of the server that uses it; `console` for the console."""
    use: str
    """What for: its own certificate, or the authorities of its clients."""
    expires: float
    """When the first certificate in it expires, in seconds since 1970."""


class CertificateList(TypedDict):
    """All certificates."""

    certificates: list[CertificateFacts]
    """The one that expires first comes first."""


@operation("certificates", "GET", "/api/certificates")
async def certificates(here: Here) -> CertificateList:
    """List the certificates that servers use, by the time at which they expire. The files are read anew."""
    found = await asyncio.to_thread(lambda: list(_facts(here.gateway.settings)))
    return {"certificates": sorted(found, key=lambda each: each["expires"])}


def _facts(settings: Settings) -> Iterator[CertificateFacts]:
    holders: dict[str, Any] = {**settings.servers}
    if settings.console is not None:
        holders["console"] = settings.console
    for name, holder in holders.items():
        tls = getattr(holder, "tls", None)
        for use, expires in tls.expiries().items() if isinstance(tls, TLS) else ():
            yield {"server": name, "use": use, "expires": expires}
