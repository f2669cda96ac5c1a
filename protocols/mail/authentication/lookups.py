"""DNS for verification: cached for all mails, within the time that one mail has. It blocks, and is used on threads."""

import time
from collections.abc import Sequence
from typing import Any

import dns.exception
import dns.name
import dns.resolver

CACHED = 10_000
"""Answers that are kept, each as long as its time to live says."""
LONGEST = 5.0
"""Seconds of one lookup."""
LARGEST_CACHED = 4096
"""Bytes of an answer that is kept. Larger ones are a stranger's way to fill the memory."""


class LookupFailed(Exception):
    """DNS gave no answer, or the mail's time is over: another attempt may have one."""


class _Cache(dns.resolver.LRUCache):
    def put(self, key: Any, value: dns.resolver.Answer) -> None:
        if len(value.response.wire or b"") <= LARGEST_CACHED:
            super().put(key, value)


class Resolver:
    """Asks the servers, and remembers their answers."""

    def __init__(self, servers: Sequence[tuple[str, int]] = ()) -> None:
        """``servers``: addresses and ports; none means the system's. Raises OSError if the system has none."""
        try:
            self._resolver = dns.resolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise OSError("this system has no DNS servers, in /etc/resolv.conf") from error
        self._resolver.cache = _Cache(CACHED)
        self._closed = False
        if servers:
            self._resolver.nameservers = [address for address, _ in servers]
            self._resolver.nameserver_ports = dict(servers)

    def close(self) -> None:
        """No further lookups: threads that have begun come to their end."""
        self._closed = True

    def query(self, name: str, kind: str, seconds: float) -> list[Any]:
        """Return the records of ``name``; none if there are none. Raises LookupFailed."""
        if self._closed:
            raise LookupFailed(f"DNS: {name}: the server ends")
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

    def __init__(self, resolver: Resolver, end: float) -> None:
        """``end``: when the mail's time is over, by ``time.monotonic()``."""
        self._resolver = resolver
        self._end = end

    def query(self, name: str, kind: str) -> list[Any]:
        """Return the records of ``name``. Raises LookupFailed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise LookupFailed(f"DNS: {name}: the time for this mail is over")
        return self._resolver.query(name, kind, min(left, LONGEST))

    def txt(self, name: str) -> list[bytes]:
        """Return the text records of ``name``, each in one piece. Raises LookupFailed."""
        return [b"".join(record.strings) for record in self.query(name, "TXT")]
