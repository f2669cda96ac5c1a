"""DKIM (RFC 6376) and ARC (RFC 8617), by dkimpy: which domains have signed a mail."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import dkim

from protocols.mail.authentication.lookups import LookupFailed, Lookups

SIGNATURES = 5
"""Signatures that are checked: each costs a lookup, and a pass over the whole mail."""
SEALS = 50
"""Seals that a mail may have (RFC 8617, 5.2)."""

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


def check_dkim(lookups: Lookups, raw: bytes, signatures: int) -> Signed:
    """Check the first ``SIGNATURES`` of the mail's ``signatures``."""
    if signatures == 0:
        return Signed("none", ())
    found = [_one(lookups, raw, number) for number in range(min(signatures, SIGNATURES))]
    results = {result for result, _ in found}
    valid = dict.fromkeys(domain for result, domain in found if result == "pass")
    return Signed(next(each for each in _WORST if each in results), tuple(valid))


def _one(lookups: Lookups, raw: bytes, number: int) -> tuple[str, str]:
    verifier = None
    try:
        verifier = dkim.DKIM(raw, logger=_silent, minkey=1024)
        result = "pass" if verifier.verify(number, dnsfunc=_records(lookups)) else "fail"
    except (LookupFailed, dkim.DnsTimeoutError):
        result = "temperror"
    except dkim.ValidationError as error:
        result = "fail" if str(error).startswith("body hash mismatch") else "permerror"
    except Exception:  # of the library, on hostile signatures: its own, and IndexError, UnicodeError and others
        result = "permerror"
    domain = getattr(verifier, "domain", None)
    return result, domain.decode("ascii", "replace").lower() if isinstance(domain, bytes) else ""


def check_arc(lookups: Lookups, raw: bytes, seals: int) -> str:
    """Return whether the chain of the mail's ``seals`` is unbroken: ``pass``, ``fail``, ``none`` or ``temperror``."""
    if seals == 0:
        return "none"
    if seals > SEALS:
        return "fail"
    try:
        result, _, _ = dkim.ARC(raw, logger=_silent, minkey=1024).verify(dnsfunc=_records(lookups))
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
