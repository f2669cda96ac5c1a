"""The operation ``certificates``."""

from typing import TypedDict

from gateway.config.settings import Settings
from gateway.console.expiries import of_clients, of_servers
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.own_thread import disk_thread


class CertificateFacts(TypedDict):
    """A file with certificates."""

    server: str
    """The name of the server that uses it; `console` for the console, `submission` for outgoing mail."""
    use: str
    """What for: `server`, its own certificate; `client_ca`, the authorities of its clients; `client`, the certificate
    that the gateway presents to others; `ca`, the authorities of those."""
    expires: float
    """When the first certificate in it expires, in seconds since 1970."""


class CertificateList(TypedDict):
    """All certificates."""

    certificates: list[CertificateFacts]
    """The one that expires first comes first."""


@operation("certificates", "GET", "/api/certificates")
async def certificates(here: Here) -> CertificateList:
    """List the certificates that servers and connections to others use, by the time at which they expire. The files
    are read anew."""
    return {"certificates": await disk_thread.run(_listed, here.gateway.settings)}


def _listed(settings: Settings) -> list[CertificateFacts]:
    found = sorted([*of_servers(settings), *of_clients(settings)], key=lambda each: each[2])
    return [{"server": name, "use": use, "expires": expires} for name, use, expires in found]
