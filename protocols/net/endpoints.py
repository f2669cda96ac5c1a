"""The two endpoints of a connection: their addresses, and the TLS between them."""

import ssl
from dataclasses import dataclass
from functools import cache
from typing import Any

from protocols.asgi import HostPort
from protocols.net.tls import server_certificate

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
    """Return ``scope["extensions"]["tls"]`` (ASGI's TLS extension, version 0.2) for a server's ``ssl.SSLObject``.

    ``client_cert_error`` is always None: a client whose certificate is not valid does not get through the handshake.
    """
    der = connection.getpeercert(binary_form=True)
    return {
        "server_cert": server_certificate(connection.context),
        "client_cert_chain": _chain(connection, der) if der else [],
        "client_cert_name": _name(connection.getpeercert()["subject"]) if der else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version()),
        "cipher_suite": _suites().get(connection.cipher()[0]),
    }


def _chain(connection: Any, der: bytes) -> list[str]:
    """The client's certificate, and those that it sent with it, as far as Python shows them (3.13)."""
    sent = connection.get_unverified_chain() if hasattr(connection, "get_unverified_chain") else [der]
    return [ssl.DER_cert_to_PEM_cert(each) for each in sent]


@cache
def _suites() -> dict[str, int]:
    """OpenSSL's name of a cipher suite -> its number in IANA's registry."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL")
    return {suite["name"]: suite["id"] & 0xFFFF for suite in context.get_ciphers()}


def _name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """Return the subject in the form of RFC 4514, with its most specific part first."""
    parts = ("+".join(f"{_SHORT.get(kind, kind)}={_escape(value)}" for kind, value in part) for part in subject[::-1])
    return ",".join(parts)


def _escape(value: str) -> str:
    escaped = "".join(f"\\{letter}" if letter in '"+,;<>\\' else letter for letter in value)
    return f"\\{escaped}" if escaped[:1] in ("#", " ") else escaped
