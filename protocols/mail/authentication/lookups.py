"""DNS for verification: cached for all mails, within the time that one mail has. It blocks, and is used on threads."""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import dns.exception
import dns.name
import dns.resolver

CACHED = 10_000
"""Answers that are kept, each as long as its time to live says."""
LONGEST = 5.0
"""Seconds of one lookup."""


class LookupFailed(Exception):
    """DNS gave no answer, or the mail's time is over: another attempt may have one."""


class Resolver:
    """Asks the servers, and remembers their answers."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        """``servers``: as in the settings; none means the system's."""
        self._resolver = dns.resolver.Resolver(configure=not servers)
        self._resolver.cache = dns.resolver.LRUCache(CACHED)
        if servers:
            self._resolver.nameservers = [_address(each)[0] for each in servers]
            self._resolver.nameserver_ports = dict(map(_address, servers))

    def query(self, name: str, kind: str, seconds: float) -> list[Any]:
        """Return the records of ``name``; none if there are none. Raises LookupFailed."""
        try:
            return list(self._resolver.resolve(name, kind, lifetime=seconds, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.exception.SyntaxError, dns.name.LabelTooLong):
            return []
        except (dns.name.NameTooLong, dns.name.EmptyLabel, UnicodeError):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailed(f"DNS: {name}: {type(error).__name__}") from error


class Lookups:
    """The lookups for one mail."""

    def __init__(self, resolver: Resolver, seconds: float) -> None:
        self._resolver = resolver
        self._end = time.monotonic() + seconds

    def query(self, name: str, kind: str) -> list[Any]:
        """Return the records of ``name``. Raises LookupFailed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise LookupFailed(f"DNS: {name}: the time for this mail is over")
        return self._resolver.query(name, kind, min(left, LONGEST))

    def txt(self, name: str) -> list[bytes]:
        """Return the text records of ``name``, each in one piece. Raises LookupFailed."""
        return [b"".join(record.strings) for record in self.query(name, "TXT")]


def _address(server: str) -> tuple[str, int]:
    """Return the host and port of ``127.0.0.1:5353`` or ``[::1]``."""
    parts = urlsplit(f"//{server}" if server.count(":") < 2 or server.startswith("[") else f"//[{server}]")
    return parts.hostname or "", parts.port or 53
