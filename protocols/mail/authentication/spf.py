"""SPF (RFC 7208), by pyspf: whether a domain lets this server send its mail."""

from collections.abc import Callable
from typing import Any

import spf

from protocols.mail.authentication.lookups import LookupFailed, Lookups

_VALUES: dict[str, Callable[[Any], Any]] = {
    "A": lambda record: record.address,
    "AAAA": lambda record: record.address,
    "MX": lambda record: (record.preference, record.exchange.to_text(omit_final_dot=True)),
    "PTR": lambda record: record.target.to_text(omit_final_dot=True),
    "TXT": lambda record: record.strings,
}


class _Query(spf.query):  # type: ignore[misc]  # the library has no types
    """The library's evaluation with our lookups. It looks up each name again; our resolver remembers."""

    def __init__(self, lookups: Lookups, client: str, mail_from: str, helo: str) -> None:
        super().__init__(i=client, s=mail_from, h=helo)
        self._lookups = lookups

    def dns(self, name: str, qtype: str, cnames: Any = None, ignore_void: bool = False) -> list[Any]:
        try:
            found = [_VALUES[qtype](each) for each in self._lookups.query(name, qtype)] if qtype in _VALUES else []
        except LookupFailed as error:
            raise spf.TempError(str(error)) from error
        self.void_lookups += not found and not ignore_void
        if self.void_lookups > spf.MAX_VOID_LOOKUPS:
            raise spf.PermError(f"more than {spf.MAX_VOID_LOOKUPS} lookups found nothing")
        return found


def check_spf(lookups: Lookups, client: str, mail_from: str, helo: str) -> tuple[str, str]:
    """Return the result and the domain that it is about.

    ``client`` is an address; the domain is that of ``mail_from``, or of ``helo`` for bounces.
    """
    domain = mail_from.rpartition("@")[2] or helo
    try:
        result, _ = _Query(lookups, client, mail_from, helo).check()[::2]
    except Exception:  # the library's own bugs on hostile records: IndexError, RecursionError and others
        return "permerror", domain.lower()
    return str(result).lower(), domain.lower()
