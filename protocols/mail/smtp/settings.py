"""The settings of an SMTP or LMTP server."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from protocols.access.users import check_users
from protocols.mail.addresses import DELIMITER, Delimiters
from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.mail.smtp.senders import check_senders
from protocols.net.listener import TLS
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Address, Bound, Count, Length, Network, Timeout, is_local, parse_address


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
    """Bytes of all messages together that are being received or handled; a message above this is deferred (452). At
    least ``max_message``."""
    auth: Literal["required", "optional", "off"] | None = None
    """Whether senders log in (AUTH PLAIN and LOGIN), with a name of ``users`` or ``password_file``: all of them have
    to, they may, or this is not offered. Default: ``optional`` if there are users, else ``off``."""
    users: dict[str, Secret] | None = None
    """Users who may log in: names, and hashes of passwords (argon2id or bcrypt). ``gateway password`` makes a hash."""
    password_file: str | None = None
    """Path of a file of users, with a line ``name:hash`` for each; ``#`` begins a comment line. The file is read again
    when it changes. For a name that is in ``users`` too, the hash in ``users`` counts."""
    senders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The addresses as which a user may send, in the envelope and in From: ``ann: [ann@example.org, "@ann.example"]``;
    ``"*"`` for all. A user who is not named here has the user name, if that is an address."""
    auth_without_tls: bool = False
    """Take passwords in clear from other machines. Without this, only over TLS and from this machine."""
    max_recipients: Count = 100
    """Recipients of one message; the sender is told (452) to send the rest in another transaction."""
    recipient_delimiter: Delimiters = DELIMITER
    """The characters that may begin a tag in a local part: `help+bill7@example.org` has the tag `bill7`, and
    a route for `help@example.org` takes it. Empty: there are no tags."""
    max_connections: Count = 500
    """Connections at a time. One more is told to try later (421); with ``implicit_tls`` it is closed."""
    max_per_address: Bound = 100
    """Connections at a time from one client address (IPv6: /64). 0 means no limit."""
    max_connection_rate: Bound = 300
    """New connections a minute from one client address (IPv6: /64). One more is told to try later (421). This machine
    is exempt, and 0 means no limit; the same for the next two."""
    max_message_rate: Bound = 1000
    """Messages a minute from one client address; one more is deferred (451)."""
    max_messages: Bound = 1000
    """Messages of one connection; it is closed then (421), and the sender opens another."""
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
        self._check_logins()
        if self.max_buffered < self.max_message:
            raise ValueError(f"max_buffered: write {self.max_message} or more, which is max_message")
        if self.implicit_tls and self.tls is None:
            raise ValueError("implicit_tls needs tls: with a certificate and a key")

    @property
    def authenticates(self) -> bool:
        """Whether senders may log in."""
        return self.auth in ("required", "optional") or (self.auth is None and self._knows_users)

    @property
    def _knows_users(self) -> bool:
        return self.users is not None or self.password_file is not None

    def _check_logins(self) -> None:
        check_users(self.users or {})
        for user, senders in self.senders.items():
            try:
                check_senders(senders)
            except ValueError as error:
                raise ValueError(f"senders: {user}: {error}") from error
        if not self.authenticates:
            return
        if not self._knows_users:
            raise ValueError(f"auth: {self.auth} needs users, or a password_file")
        if self.protocol == "lmtp":
            raise ValueError("users log in over SMTP; say protocol: smtp")
        if self.tls is None and not self.auth_without_tls and not is_local(parse_address(self.bind)):
            raise ValueError("users need tls: with a certificate and a key, or auth_without_tls: true")
