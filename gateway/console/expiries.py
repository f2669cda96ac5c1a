"""When the certificates that the configuration names expire: those of servers, and those of connections to others."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.settings import Settings
from protocols.net.tls import TLS, expiries

Expiry = tuple[str, str, float]
"""The name of the server, ``console`` or ``submission``; what for; and the Unix time."""


def of_servers(settings: Settings) -> Iterator[Expiry]:
    """Yield when the certificates expire that servers present (``server``), and the authorities of their clients
    (``client_ca``). The files are read."""
    for name, holder in _holders(settings).items():
        tls = getattr(holder, "tls", None)
        for use, expires in tls.expiries().items() if isinstance(tls, TLS) else ():
            yield name, use, expires


def of_clients(settings: Settings) -> Iterator[Expiry]:
    """Yield when the certificates expire that the gateway presents as a client (``client``), and the authorities of
    the servers that it connects to (``ca``). The files are read."""
    for name, holder in _holders(settings).items():
        files = {"client": getattr(holder, "certificate", None), "ca": getattr(holder, "ca", None)}
        for use, expires in expiries({use: path for use, path in files.items() if isinstance(path, str)}).items():
            yield name, use, expires


def _holders(settings: Settings) -> Mapping[str, Any]:
    """Return what may have certificates, by name."""
    return {**settings.servers, "console": settings.console, "submission": settings.submission}
