"""The two endpoints of a connection: their addresses, and the TLS between them."""

import ssl
from dataclasses import dataclass
from typing import Any

from protocols.asgi import HostPort

# RFC 4514, 3, and the attribute types that it names.
_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of a TCP connection's two endpoints."""

    client: HostPort
    server: HostPort


def host_port(address: Any) -> HostPort | None:
    """The host and port in a TCP socket's address, which has four parts for IPv6; None for a Unix socket's."""
    return (address[0], address[1]) if isinstance(address, tuple) and len(address) >= 2 else None


def describe_tls(connection: Any) -> dict[str, Any]:
    """Return ``scope["extensions"]["tls"]`` (ASGI's TLS extension, version 0.2) for an ``ssl.SSLObject``.

    The extension allows a server to leave out its own certificate, which this one does.
    """
    der = connection.getpeercert(binary_form=True)
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else [],
        "client_cert_name": _name(connection.getpeercert()["subject"]) if der else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version()),
        "cipher_suite": None,
    }


def _name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Return the subject in the form of RFC 4514, with its most specific part first."""
    parts = ("+".join(f"{_SHORT.get(kind, kind)}={_escape(value)}" for kind, value in part) for part in subject[::-1])
    return ",".join(parts)


def _escape(value: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in '"+,;<>\\' else letter for letter in value)
    return f"\\{escaped}" if escaped[:1] in ("#", " ") else escaped
