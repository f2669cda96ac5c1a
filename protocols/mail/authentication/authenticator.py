"""Verifies the sender of a mail, on threads of its own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from protocols.asgi import EmailScope
from protocols.errors import BindError
from protocols.mail.authentication.settings import AuthenticationSettings, resolver_address
from protocols.mail.authentication.trusted import trusted_results
from protocols.mail.headers import Headers
from protocols.mail.message.address import addresses

THREADS = 16
"""Mails that are verified at the same time: their threads mostly wait for DNS."""


class _Verifier(NamedTuple):
    verify: Callable[[EmailScope, bytes, float], dict[str, str]]
    """The scope, what gives the mail as it came, and the end of the time for its lookups -> the results."""
    stop: Callable[[], None]
    """Lets what runs come to its end."""


class Authenticator:
    """Verifies mails by one server's settings."""

    def __init__(self, settings: AuthenticationSettings) -> None:
        """Raises BindError if a library is missing."""
        self._settings = settings
        self._verifier = _verifier(settings) if settings.verify else None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail authentication")

    async def results(self, scope: EmailScope, raw: bytes) -> dict[str, str] | None:
        """Return the scope's ``authentication``; None if nobody has checked. ``raw`` is the mail as it came.

        The mail's time runs while it waits for a thread, too: others, whose DNS is slow, hold it up no longer.
        """
        settings, verifier = self._settings, self._verifier
        if settings.trust is not None:
            return trusted_results(scope["headers"], settings.trust)
        if verifier is None:
            return None
        end = time.monotonic() + settings.timeout
        return await asyncio.get_running_loop().run_in_executor(self._threads, verifier.verify, scope, raw, end)

    def close(self) -> None:
        if self._verifier is not None:
            self._verifier.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _verifier(settings: AuthenticationSettings) -> _Verifier:
    """Raises BindError."""
    try:
        from protocols.mail.authentication.dkim import check_arc, check_dkim
        from protocols.mail.authentication.dmarc import Domains, check_dmarc
        from protocols.mail.authentication.lookups import Lookups, Resolver
        from protocols.mail.authentication.spf import check_spf
    except ImportError as error:
        raise BindError(f"authentication: {error.name} is not installed; pip install 'asgi-gateway[mail]'") from error
    try:
        resolver = Resolver([resolver_address(each) for each in settings.resolvers])
    except OSError as error:
        raise BindError(f"authentication: {error}") from error

    def verify(scope: EmailScope, raw: bytes, end: float) -> dict[str, str]:
        lookups, headers = Lookups(resolver, end), scope["headers"]
        found = {"source": "verified"}
        passed, unknown = None, ""
        if scope["transport"] == "smtp" and scope["client"] is not None:
            result, domain = check_spf(lookups, scope["client"][0], scope["mail_from"], scope["helo"] or "")
            found |= {"spf": result, "spf_domain": domain}
            passed = domain if result == "pass" else None
            unknown = domain if result == "temperror" else ""
        signed = check_dkim(lookups, raw, _number(headers, b"dkim-signature"))
        found |= {"dkim": signed.result, "dkim_domain": " ".join(signed.domains)}
        found["arc"] = check_arc(lookups, raw, _number(headers, b"arc-seal"))
        authors = authors_of(headers)
        if len(authors) != 1:  # RFC 9989, 5.3.1
            return found | {"dmarc": "permerror"}
        author = authors.pop()
        aligned = check_dmarc(lookups, author, Domains(passed, signed.domains), Domains(unknown, signed.unknown))
        return found | {"dmarc": aligned.result, "dmarc_domain": author, "dmarc_policy": aligned.policy}

    return _Verifier(verify, resolver.close)


def authors_of(headers: Headers) -> set[str]:
    """Return the domains of all addresses in From, as handlers read it: what is verified is the address they see."""
    return {address.domain for name, value in headers if name == b"from" for address in addresses(value)}


def _number(headers: Headers, wanted: bytes) -> int:
    return sum(name == wanted for name, _ in headers)
