"""An SMTP transaction: a MAIL command, its RCPT commands, and the parameters that they may have (RFC 5321 3.3)."""

import re
from dataclasses import dataclass, field

from protocols.errors import RemoteProtocolError
from protocols.event_id import new_id
from protocols.mail.addresses import parse_recipient, parse_sender
from protocols.mail.smtp.incoming import Incoming

# ESMTP parameters that senders add and that need no action: those of SMTP AUTH and DSN (RFC 3461). Parameters that
# begin with X are ignored too: Microsoft 365 adds some (XOORG, XATTRDIRECT ...).
_IGNORED_OF_SENDER = frozenset({"AUTH", "RET", "ENVID"})
_IGNORED_OF_RECIPIENT = frozenset({"NOTIFY", "ORCPT"})
_CHUNK = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)


@dataclass
class Transaction:
    """Lasts from one MAIL command to the end of its message."""

    sender: str
    size: int = 0
    """The size that the sender declared; 0 if it declared none."""
    recipients: list[str] = field(default_factory=list)
    full: bool = False
    """Whether its sender was told that there are too many recipients."""
    incoming: Incoming | None = None
    """Its message, while it comes."""
    whole: bool = False
    """Whether its message is complete."""
    id: str = field(default_factory=new_id)
    """The id in the log, in the trace header and in the answer."""

    def end(self) -> None:
        """Give up a message that is not complete."""
        if self.incoming is not None:
            self.incoming.end()


def begin(argument: str, *, max_message: int) -> Transaction:
    """Return the transaction that ``MAIL <argument>`` begins. Raises RemoteProtocolError."""
    sender, parameters = parse_sender(argument)
    size = parameters.pop("SIZE", "0")
    body = parameters.pop("BODY", "7BIT").upper()
    parameters.pop("SMTPUTF8", None)
    _check_ignored(parameters, _IGNORED_OF_SENDER)
    if body not in {"7BIT", "8BITMIME"} or not (size.isascii() and size.isdigit() and len(size) <= 20):
        raise RemoteProtocolError("5.5.4 Parameter not understood", answer=501)
    if int(size) > max_message:
        raise RemoteProtocolError("5.3.4 Message too big", answer=552)
    return Transaction(sender, int(size))


def recipient_of(argument: str) -> str:
    """Return the address that ``RCPT <argument>`` names. Raises RemoteProtocolError."""
    recipient, parameters = parse_recipient(argument)
    _check_ignored(parameters, _IGNORED_OF_RECIPIENT)
    return recipient


def chunk_of(argument: str) -> tuple[int, bool]:
    """Return the size of the chunk that ``BDAT <argument>`` begins, and whether it is the last. Raises
    RemoteProtocolError."""
    found = _CHUNK.fullmatch(argument)
    if found is None:
        raise RemoteProtocolError("5.5.4 Syntax: BDAT size [LAST]", answer=501)
    return int(found[1]), found[2] is not None


def _check_ignored(parameters: dict[str, str], ignored: frozenset[str]) -> None:
    unknown = [name for name in parameters if name not in ignored and not name.startswith("X")]
    if unknown:
        raise RemoteProtocolError("5.5.4 Parameter not recognized", answer=555)
