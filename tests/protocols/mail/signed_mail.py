"""Mails signed by dkimpy, and the DNS zone that their keys are in."""

import base64
from collections.abc import Iterator
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from servers.dns_server import DNSServer, dns_server

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
MAIL = b"From: Ann <ann@example.org>\r\nTo: support@example.net\r\nSubject: Hello\r\n\r\nIt works.\r\n"


@pytest.fixture
def zone() -> Iterator[DNSServer]:
    with dns_server() as served:
        served.txt("example.org", "v=spf1 ip4:192.0.2.0/24 -all")
        served.txt("_dmarc.example.org", "v=DMARC1; p=reject")
        for domain in ("example.org", "lists.example.org", "other.example", "mail.example.org"):
            served.txt(f"key._domainkey.{domain}", f"v=DKIM1; k=rsa; p={public()}")
        yield served


def public() -> str:
    der = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def signed(mail: bytes = MAIL, domain: str = "example.org", **given: Any) -> bytes:
    return bytes(dkim.sign(mail, b"key", domain.encode(), PEM, **given)) + mail
