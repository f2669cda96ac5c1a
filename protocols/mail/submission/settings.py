"""The settings of outgoing mail."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from protocols.mail.oauth.settings import Auth
from protocols.mail.oauth.source import TokenSource
from protocols.mail.oauth.token_file import TokenFile
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Host, OneOrMore, Seconds, Timeout

PORTS = {"smtp": 587, "smtps": 465}
"""The port of each scheme."""


@dataclass(frozen=True)
class DKIMSettings:
    """A DKIM key (RFC 6376). Its public half is in the DNS, at `SELECTOR._domainkey.DOMAIN`."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    domain: Host
    """Mail is signed whose From is at this domain, or below it; of several keys, by the one with the longest domain."""
    selector: Host
    """The name of the key."""
    key: str
    """Path of the private key: RSA, as PEM. Other users of this machine must not be able to read it."""


@dataclass(frozen=True)
class SubmissionSettings:
    """Outgoing mail."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    url: str
    """``smtp://host:587`` (STARTTLS if the server offers it), ``smtps://host:465`` (TLS from the first byte), or
    ``file:var/outbox``: a maildir, for development. ``django``: the `EMAIL_BACKEND` of the project's settings, such as
    one of django-anymail. A text alone is the URL: ``submission: django``."""
    username: str | None = None
    """Login name. If it is set, no mail goes to a server without TLS, unless the server is on this machine."""
    password: Secret | None = None
    """Its password."""
    token_file: str | None = None
    """Instead of a password: path of a file with an OAuth access token (XOAUTH2: Google, Microsoft), which another
    program keeps fresh. It is read at each login."""
    auth: Auth | None = None
    """Instead of a password: a login by OAuth, as a mailbox at Google or Microsoft has it."""
    ca: str | None = None
    """Path of a PEM file with the authorities to trust, instead of the system's."""
    timeout: Timeout = 30.0
    """For each step of the conversation with the server. Its answer to the message itself may take ten minutes (RFC
    5321, 4.5.3.2.6): a mail that is given up then may arrive twice."""
    max_connections: Count = 5
    """How many messages are sent at the same time; further ones wait."""
    dkim: Annotated[tuple[DKIMSettings, ...], OneOrMore()] = ()
    """Signs mail: ``{domain: example.org, selector: mail, key: dkim.pem}``, or a list of such. Needs
    `pip install 'asgi-gateway[mail]'`."""
    keep_open: Seconds = 10.0
    """How long a connection is kept open for the next message. `0`: each message has a connection of its own."""
    default_from: str = ""
    """The address that `send_mail` writes into From unless it is told another one: ``Shop <shop@example.org>``."""

    def __post_init__(self) -> None:
        """Raises ValueError if two of them contradict each other, or ``default_from`` is no address."""
        if self.default_from:
            from protocols.mail.compose.mailbox import mailbox  # imports what reads mail

            mailbox(self.default_from)
        ways = [bool(self.password), bool(self.token_file), self.auth is not None]
        if sum(ways) > 1:
            raise ValueError("write password, token_file or auth, one of them")
        if any(ways) and self.username is None:
            raise ValueError("a password, token_file or auth needs a username")

    def tokens(self) -> TokenSource | None:
        """Return the source of access tokens; None if there is a password, or no login."""
        if self.auth is not None and self.username is not None:
            return self.auth.source(self.username)
        return TokenFile(self.token_file) if self.token_file else None
