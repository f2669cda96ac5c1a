"""When the certificates of a PEM file expire. Python's ssl module tells only when those of authorities do."""

import datetime
import ssl
from collections.abc import Iterator

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17
_BEFORE_VALIDITY = 3
"""Fields between the version and the validity: serial number, signature algorithm, issuer (RFC 5280, 4.1)."""


def earliest_expiry(pem: str) -> float:
    """Return the Unix time at which the first certificate of ``pem`` expires. Raises ValueError if there is none that
    can be read."""
    return min(_expiry(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{each}")) for each in _certificates(pem))


def _certificates(pem: str) -> Iterator[str]:
    for part in pem.split(_BEGIN)[1:]:
        yield part[: part.find(_END)] + _END


def _expiry(der: bytes) -> float:
    """RFC 5280, 4.1: a certificate is a sequence whose first element is a sequence of ``version``, three more fields
    and ``validity``, which has two times."""
    try:
        fields = _elements(_inside(_inside(der)))
        tag, content = next(fields)
        for _ in range(_BEFORE_VALIDITY if tag == _VERSION else _BEFORE_VALIDITY - 1):
            next(fields)
        _, validity = next(fields)
        _, (tag, content) = _elements(validity)
    except (StopIteration, IndexError) as error:
        raise ValueError("not a certificate") from error
    return _time(tag, content.decode("ascii"))


def _inside(der: bytes) -> bytes:
    """Return the content of the sequence that ``der`` begins with."""
    tag, content = next(_elements(der))
    if tag != _SEQUENCE:
        raise ValueError("not a certificate")
    return content


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element (X.690, 8.1)."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:  # the length is in the next bytes
            width = size & 0x7F
            size, at = int.from_bytes(der[at : at + width], "big"), at + width
        yield tag, der[at : at + size]
        at += size


def _time(tag: int, text: str) -> float:
    """RFC 5280, 4.1.2.5: UTCTime has two digits of the year, which is 1950 to 2049; GeneralizedTime has four."""
    if tag == _UTC_TIME:
        text = f"{'19' if text >= '5' else '20'}{text}"
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%S%z").timestamp()
