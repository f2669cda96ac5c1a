"""The settings of mailboxes in gateway.yaml."""

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from protocols.mail.addresses import DELIMITER, Delimiters
from protocols.mail.authentication.settings import AuthenticationSettings
from protocols.mail.imap.marks import AnyMark, FinalMark, Marks, check_final, parse_mark
from protocols.mail.imap.names import INBOX, as_written
from protocols.mail.oauth.settings import Auth
from protocols.mail.oauth.source import TokenSource
from protocols.mail.oauth.token_file import TokenFile
from protocols.net.tls import client_context
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Host, Length, Port, TextUnit, Timeout

FolderName = Annotated[str, TextUnit(as_written, {"type": "string"})]
_HEADER_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,76}")


@dataclass(frozen=True, kw_only=True)
class Account:
    """One of several accounts of an IMAP server."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    username: str
    """Login name. If it is an address, it is also the recipient of messages that name no recipient."""
    password: Secret | None = None
    """Its password, or the application password that the provider issues."""
    token_file: str | None = None
    """Instead of a password: path of a file with an OAuth access token."""
    auth: Auth | None = None
    """Instead of a password: a login by OAuth."""
    folders: tuple[FolderName, ...] = ()
    """The folders to read; those of the server's entry if there are none."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if not self.username:
            raise ValueError("username is missing")
        if sum(map(bool, (self.password, self.token_file, self.auth))) != 1:
            raise ValueError("write password, token_file or auth, one of them")

    def tokens(self) -> TokenSource | None:
        """Return the source of the account's access tokens; None if it has a password."""
        if self.auth is not None:
            return self.auth.source(self.username)
        return TokenFile(self.token_file) if self.token_file else None


@dataclass(frozen=True, kw_only=True)
class IMAPSettings:
    """A mailbox to read, or several."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["imap"] = "imap"
    host: Host = ""
    """The IMAP server. Empty: this mailbox is not read, and not listed."""
    port: Port | None = None
    """Its port; 993 with TLS and 143 without."""
    tls: bool = True
    """TLS from the first byte. Without it the password is readable on the wire."""
    ca: str | None = None
    """Path of a PEM file with the authorities to trust, instead of the system's."""
    username: str = ""
    """Login name. If it is an address, it is also the recipient of messages that name no recipient."""
    password: Secret | None = None
    """Its password, or the application password that the provider issues."""
    token_file: str | None = None
    """Instead of a password: path of a file with an OAuth access token (XOAUTH2: Google, Microsoft), which another
    program keeps fresh. It is read at each connection, and again as soon as it changes after the server refused it."""
    auth: Auth | None = None
    """Instead of a password: a login by OAuth, as Google and Microsoft 365 ask for it: `{google: key.json}` or
    `{microsoft: {tenant: ..., client_id: ..., client_secret: ...}}`."""
    folder: FolderName = INBOX
    """The folder to read. Every message in it is for the application; no other program may read it."""
    folders: tuple[FolderName, ...] = ()
    """Several folders to read, instead of `folder`. `Team/*` reads all folders in Team, also those that are made later,
    and `Team/%` those directly in it; without Sent, Drafts, Junk, Trash and the like, if the server says which they
    are, and without the folders that messages are moved to. `/` may stand for the character that the server has between
    folder names."""
    accounts: tuple[Account, ...] = ()
    """Several accounts at this server, instead of `username` and `password`: each has `username`, `password`,
    `token_file` or `auth`, and its own `folders` if they differ."""
    connections: Count = 5
    """How many connections each account may have. Each of its first folders gets one, on which new messages are
    announced at once (IDLE); all further folders, and patterns, share the last one, and are looked at every `poll`.
    Google allows 15 for an account, with all its programs."""
    on_accept: FinalMark = "move Processed"
    """What is done to a handled message: ``move FOLDER``, ``keyword NAME``, ``seen`` or ``delete``. Missing folders are
    made. With ``seen``, messages that a person has opened are not read."""
    on_reject: FinalMark = "move Rejected"
    """What becomes of a message that the handler rejected, or that is larger than `max_message`."""
    on_failed: FinalMark = "move Failed"
    """What becomes of a message whose `attempts` are used up. It is a dead letter then, which can be retried."""
    on_unrouted: AnyMark = "leave"
    """What becomes of a message that no route takes; ``leave`` reads it again on the next connection."""
    persistence: bool = True
    """Keep in the store which messages are handled and not marked yet, and that this process reads the folders. So a
    message that is handled when the process or the connection dies is not handled again, and of several processes with
    one store one reads a folder, until it ends. `false`: no store; do not read a folder with two processes then."""
    recipient_header: str | None = None
    """The only header that names the recipient, such as Delivered-To, if you know which one the server writes. Without
    it the best evidence counts, much of which a sender can forge."""
    authentication: AuthenticationSettings | None = None
    """How the sender of a mail is verified: `{trust: NAME}` reads the Authentication-Results of the mailbox's own mail
    server, `{verify: true}` checks DKIM and DMARC."""
    recipient_delimiter: Delimiters = DELIMITER
    """The characters that may begin a tag in a local part: `help+bill7@example.org` has the tag `bill7`, and
    a route for `help@example.org` takes it. Empty: there are no tags."""
    max_message: Length = 32 * 1024 * 1024
    """The largest message that is fetched. A larger one gets the mark of `on_reject`, and no handler gets it."""
    handler_timeout: Timeout = 120.0
    """Time for the application to handle one message. After it the handler is cancelled and the message tried again, as
    after any failure: after 30 s, then twice that, up to an hour, as long as it is in the folder. A route's `attempts`
    limits that."""
    poll: Timeout = 60.0
    """Time between two searches, if the server has no IDLE, or IDLE fails, or several folders share a connection."""
    idle_check: Timeout = 120.0
    """Time after which a server that announces new messages (IDLE) is asked whether it still works: it may hang while
    its connection stays open. It then has `timeout` to answer. At most 9 minutes, however long this is."""
    timeout: Timeout = 30.0
    """A server that does not answer for this long is disconnected."""
    reconnect: Timeout = 1.0
    """Time before the first attempt to connect again; it doubles each time, up to a minute."""
    retry_refused: Timeout = 300.0
    """Time before the next attempt after the server refused the login or a folder."""

    def __post_init__(self) -> None:
        """Check the settings together. Raises ValueError."""
        if self.configured:
            for mistake in self._mistakes():
                raise ValueError(mistake)

    def _mistakes(self) -> Iterator[str]:
        if self.accounts and (self.username or self.password or self.token_file or self.auth):
            yield "write username with its password, or accounts, one of them"
        if self.folders and self.folder != INBOX:
            yield "write folder or folders, one of them"
        yield from _twice("the account", [account.username for account in self.each_account()])
        for account in self.each_account():
            yield from _twice("the folder", self.folders_of(account))
            if wrong := set(self.folders_of(account)).intersection(self.marks().folders()):
                yield f"{min(wrong)!r} is a folder that is read; messages moved to it would be read again"
        if self.recipient_header is not None and not _HEADER_NAME.fullmatch(self.recipient_header):
            yield f"recipient_header: {self.recipient_header!r} is not the name of a header"

    def each_account(self) -> Sequence[Account]:
        """Return the accounts, also the only one. Raises ValueError if that is incomplete."""
        return self.accounts or [
            Account(username=self.username, password=self.password, token_file=self.token_file, auth=self.auth)
        ]

    def folders_of(self, account: Account) -> Sequence[str]:
        """Return the folders to read in ``account``; some may be patterns."""
        return account.folders or self.folders or (self.folder,)

    def full_names(self) -> Iterator[tuple[str, int, str, str]]:
        """Yield host, port, login name and folder of everything that is read."""
        if self.configured:
            for account in self.each_account():
                yield from ((*self.address, account.username, folder) for folder in self.folders_of(account))

    def context(self) -> ssl.SSLContext | None:
        """Make the TLS context; None if there is none. Raises BindError if a file is missing or wrong."""
        return client_context(self.ca) if self.configured and self.tls else None

    @property
    def configured(self) -> bool:
        """Whether there is a mailbox to read. So one gateway.yaml can serve machines with and without one."""
        return bool(self.host)

    @property
    def address(self) -> tuple[str, int]:
        """The server's host and port."""
        return self.host, self.port or (993 if self.tls else 143)

    def marks(self) -> Marks:
        return Marks(
            check_final(self.on_accept),
            check_final(self.on_reject),
            check_final(self.on_failed),
            parse_mark(self.on_unrouted),
        )


def _twice(what: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if names.count(name) > 1:
            yield f"{what} {name} is there twice; write it once"
