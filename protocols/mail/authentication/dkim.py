"""DKIM (RFC 6376) and ARC (RFC 8617), by dkimpy: which domains have signed a mail."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from protocols.mail.authentication.lookups import LookupFailed, Lookups
from protocols.mail.dkim_library import body_is_longer, dkim, split
from protocols.mail.headers import MAX_HEADERS

SIGNATURES = 5
"""Signatures that are checked: each costs a lookup, and a pass over the whole mail."""
SEALS = 50
"""Seals that a mail may have (RFC 8617, 5.2)."""
LONGEST_FIELD = 8 * 1024
"""Bytes of a signature or seal. The library takes time quadratic in the spaces of longer ones."""

_silent = logging.getLogger("protocols.mail.authentication.dkimpy")  # the library logs what it reads
_silent.setLevel(logging.CRITICAL + 1)
_WORST = ("pass", "temperror", "fail", "permerror")


@dataclass(frozen=True)
class Signed:
    """The signatures of a mail."""

    result: str
    """``pass`` if one is valid; ``none`` if there is none; otherwise what the best of them says."""
    domains: tuple[str, ...]
    """The domains whose signatures are valid."""
    unknown: tuple[str, ...] = ()
    """The domains whose keys DNS did not give: their signatures may be valid."""


class SignedMail:
    """A mail as the library reads it. Reading it costs no copy of the body, unless its lines do not end in CRLF."""

    def __init__(self, raw: bytes) -> None:
        """Raises dkim.MessageFormatError."""
        self._head, self._body = split(raw)

    def read_as(self, kind: Callable[..., Any], signs: Sequence[bytes]) -> Any:
        """Return the library's DKIM or ARC of the mail, whose signatures are in the fields ``signs``.

        Raises dkim.MessageFormatError if that would take long.
        """
        read = kind(self._head, logger=_silent, minkey=1024)
        if len(read.headers) > MAX_HEADERS:
            raise dkim.MessageFormatError("the mail has too many fields")
        if any(name.lower() in signs and len(value) > LONGEST_FIELD for name, value in read.headers):
            raise dkim.MessageFormatError("a signature is too long")
        read.body = self._body
        return read


def check_dkim(lookups: Lookups, raw: bytes, signatures: int) -> Signed:
    """Check the first ``SIGNATURES`` of the mail's ``signatures``."""
    if signatures == 0:
        return Signed("none", ())
    try:
        verifier = SignedMail(raw).read_as(dkim.DKIM, (b"dkim-signature",))
    except Exception:  # of the library, on hostile header blocks: its own, and IndexError
        return Signed("permerror", ())
    found = [_one(lookups, verifier, number) for number in range(min(signatures, SIGNATURES))]
    results = {result for result, _ in found}
    valid, unknown = (tuple(dict.fromkeys(name for result, name in found if result == wanted)) for wanted in _WORST[:2])
    return Signed(next(each for each in _WORST if each in results), valid, unknown)


def _one(lookups: Lookups, verifier: Any, number: int) -> tuple[str, str]:
    verifier.domain = None
    try:
        result = _result(verifier, number, _records(lookups))
    except (LookupFailed, dkim.DnsTimeoutError):
        result = "temperror"
    except dkim.ValidationError as error:
        result = "fail" if str(error).startswith("body hash mismatch") else "permerror"
    except Exception:  # of the library, on hostile signatures: its own, and IndexError, UnicodeError and others
        result = "permerror"
    domain = verifier.domain
    return result, domain.decode("ascii", "replace").lower() if isinstance(domain, bytes) else ""


def _result(verifier: Any, number: int, records: Callable[..., bytes | None]) -> str:
    if not verifier.verify(number, dnsfunc=records):
        return "fail"
    signature = verifier.signature_fields
    if signature[b"a"] == b"rsa-sha1":  # RFC 8301, 3.1
        return "permerror"
    # RFC 6376 8.2: anybody can append a text that is not signed, and shows it instead of the one that is.
    return "fail" if b"l" in signature and body_is_longer(verifier, int(signature[b"l"])) else "pass"


def check_arc(lookups: Lookups, raw: bytes, seals: int) -> str:
    """Return whether the chain of the mail's ``seals`` is unbroken: ``pass``, ``fail``, ``none`` or ``temperror``."""
    if seals == 0:
        return "none"
    if seals > SEALS:
        return "fail"
    try:
        chain = SignedMail(raw).read_as(dkim.ARC, (b"arc-seal", b"arc-message-signature"))
        result, _, _ = chain.verify(dnsfunc=_records(lookups))
    except (LookupFailed, dkim.DnsTimeoutError):
        return "temperror"
    except Exception:  # of the library, on hostile seals
        return "fail"
    return result.decode("ascii", "replace") if isinstance(result, bytes) else "none"


def _records(lookups: Lookups) -> Callable[..., bytes | None]:
    """Return the lookup of a public key, as the library calls it."""

    def get(name: bytes, timeout: float = 0) -> bytes | None:
        return next(iter(lookups.txt(name.decode("ascii", "replace"))), None)

    return get
