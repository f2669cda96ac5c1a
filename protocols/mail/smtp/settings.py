"""The settings of an SMTP or LMTP server."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from protocols.mail.addresses import DELIMITER, Delimiters
from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.net.listener import TLS
from protocols.server import SETTINGS_CONFIG
from protocols.units import Address, Bound, Count, Length, Network, Timeout


@dataclass(frozen=True)
class SMTPSettings:
    """A server that takes mail over SMTP (from other mail servers and programs) or LMTP (from a local mail server)."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["smtp", "lmtp"] = "smtp"
    """``smtp``, or ``lmtp`` (RFC 2033), which answers for each recipient."""
    bind: Address = "127.0.0.1:8025"
    """Where it listens: host:port, unix:/path or fd:3."""
    hostname: str | None = None
    """The name in its greeting and its trace header; default: this machine's name."""
    tls: TLS | None = None
    """Certificate and key: STARTTLS is offered, or see ``implicit_tls``."""
    implicit_tls: bool = False
    """TLS from the first byte, as on port 465, instead of STARTTLS. Needs ``tls``."""
    proxy_protocol: tuple[Network, ...] = ()
    """Proxies, as addresses or networks (``unix``: all peers on a Unix socket). Their connections begin with a PROXY
    header (version 1 or 2), whose addresses count. On other connections the server does not look for one."""
    max_message: Length = 25 * 1024**2
    """The largest message. A larger one is refused (552); the limit is announced (SIZE)."""
    max_line: Length = 1024**2
    """A message with a longer line is refused (500). RFC 5321's 1,000 would refuse one in a hundred real messages."""
    max_buffered: Length = 256 * 1024**2
    """Bytes of all messages together that are being received or handled; a message above this is deferred (452). While
    it is handled, a message counts twice: an application may join its chunks. At least twice ``max_message``."""
    max_recipients: Count = 100
    """Recipients of one message; the sender is told (452) to send the rest in another transaction."""
    recipient_delimiter: Delimiters = DELIMITER
    """The characters that may begin a tag in a local part: `help+bill7@example.org` has the tag `bill7`, and
    a route for `help@example.org` takes it. Empty: there are no tags."""
    max_connections: Count = 500
    """Connections at a time. One more is told to try later (421); with ``implicit_tls`` it is closed."""
    max_per_address: Bound = 100
    """Connections at a time from one client address (IPv6: /64). 0 means no limit."""
    max_errors: Count = 20
    """Refused commands on one connection before it is closed (421)."""
    timeout: Timeout = 300.0
    """A sender that is silent for this long is disconnected (421)."""
    data_timeout: Timeout = 600.0
    """Time for the whole content of one message, however steadily it arrives."""
    handler_timeout: Timeout = 120.0
    """Time for the application to handle one message; after it the sender is told to try again (451). Senders wait for
    10 minutes at most."""
    authentication: AuthenticationSettings | None = None
    """Verify who a message is from: `verify: true`, or `trust:` with the name of your mail server that has done it."""

    def __post_init__(self) -> None:
        if self.max_buffered < 2 * self.max_message:
            raise ValueError(f"max_buffered: at least twice max_message, {2 * self.max_message} bytes")
        if self.implicit_tls and self.tls is None:
            raise ValueError("implicit_tls needs tls: with a certificate and a key")
