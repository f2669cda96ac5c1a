"""Signs the JSON Web Token by which a client proves who it is (RFC 7523, RFC 7515)."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from protocols.mail.oauth.source import TokenRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

LIFE = 600
"""Seconds for which an assertion is valid: it is used at once. Google allows an hour, Microsoft ten minutes."""
EARLIER = 30
"""Seconds by which it begins earlier: our clock may be ahead of the server's."""


def private_key(pem: bytes, path: str) -> "RSAPrivateKey":
    """Return the RSA key in ``pem``, which came from ``path``. Raises TokenRefused."""
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise TokenRefused("cryptography is not installed; pip install 'asgi-gateway[mail]'") from error
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise TokenRefused(f"{path}: it holds no private key without a password in PEM form") from error
    if not isinstance(key, RSAPrivateKey):
        raise TokenRefused(f"{path}: its key is not an RSA key")
    return key


def thumbprint(pem: bytes, path: str) -> str:
    """Return ``x5t#S256`` of the certificate in ``pem`` (RFC 7515, 4.1.8). Raises TokenRefused."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return _base64url(load_pem_x509_certificate(pem).fingerprint(SHA256()))
    except ValueError as error:
        raise TokenRefused(f"{path}: it holds no certificate in PEM form") from error


def sign(key: "RSAPrivateKey", header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return a token with ``claims``, its time and an id of its own, signed by RS256."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    now = int(time.time())
    whole = {**claims, "iat": now - EARLIER, "exp": now + LIFE, "jti": secrets.token_urlsafe(16)}
    signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', **header})}.{_part(whole)}"
    return f"{signed}.{_base64url(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _part(value: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
