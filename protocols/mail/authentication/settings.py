"""``authentication:`` of a mail server."""

import ipaddress
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from protocols.settings_config import SETTINGS_CONFIG
from protocols.units import Timeout


@dataclass(frozen=True, kw_only=True)
class AuthenticationSettings:
    """How the sender of a mail is verified; the scope's `authentication` has the result."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    verify: bool = False
    """Check SPF, DKIM, DMARC and ARC by DNS. SPF needs the sending server's address, so it is left out over LMTP and in
    mailboxes. Needs `pip install 'asgi-gateway[mail]'`."""
    trust: str | None = None
    """The name (authserv-id) of a mail server of yours that has checked the mail before: the topmost
    Authentication-Results of that name counts. That server must remove headers of this name that senders write."""
    resolvers: tuple[str, ...] = ()
    """Addresses of DNS servers, as `127.0.0.1` or `127.0.0.1:5353`; default: the system's."""
    timeout: Timeout = 20.0
    """Time for all lookups for one mail. What is not known then is `temperror`."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if self.verify == (self.trust is not None):
            raise ValueError("write verify: true, or trust: with the name of your mail server, one of them")
        for each in self.resolvers:
            resolver_address(each)


def resolver_address(server: str) -> tuple[str, int]:
    """Return the address and port of ``127.0.0.1:5353``, ``::1`` or ``[::1]:53``. Raises ValueError."""
    try:
        parts = urlsplit(f"//{server}" if server.count(":") < 2 or server.startswith("[") else f"//[{server}]")
        return str(ipaddress.ip_address(parts.hostname or "")), parts.port or 53
    except ValueError:
        raise ValueError(f"resolvers: {server!r} is not an address; write 127.0.0.1 or 127.0.0.1:5353") from None
