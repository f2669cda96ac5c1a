"""Where this machine reaches a server, and whether a client of ours can."""

from ipaddress import ip_address, ip_network
from typing import Any

from protocols.units import TCP, UNIX_PEERS, BindAddress, Unix, parse_address

LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where we call a server that listens everywhere."""


def is_reachable(settings: Any, *, unix: bool = True) -> bool:
    """Whether a client of ours can talk to this server: it finds the address in the file, has no certificate, and sends
    no PROXY header."""
    place = parse_address(settings.bind)
    found = place.port != 0 if isinstance(place, TCP) else unix and isinstance(place, Unix)
    return found and not (settings.tls and settings.tls.client_ca) and not _is_proxied(settings, place)


def _is_proxied(settings: Any, place: BindAddress) -> bool:
    """Whether connections from this machine begin with a PROXY header."""
    if not isinstance(place, TCP):
        return UNIX_PEERS in settings.proxy_protocol
    networks = [ip_network(each) for each in settings.proxy_protocol if each != UNIX_PEERS]
    return any(ip_address(local) in network for network in networks for local in LOCAL.values())


def called_here(address: str) -> str:
    """Return the address by which this machine reaches a server that listens at ``address``."""
    host, colon, port = address.rpartition(":")
    return f"{LOCAL.get(host, host)}{colon}{port}" if host != "[::]" else f"[{LOCAL['::']}]:{port}"
