"""What a store keeps, as plain values. Every engine takes and returns these."""

from dataclasses import dataclass
from enum import StrEnum

KEEP = 86400.0
"""Seconds for which the history of a message is kept after it is gone."""
KEEP_HISTORIES = 200_000
"""Histories of messages that are gone, at most: a busy gateway forgets earlier."""
LONGEST_WAIT, LONGEST_WINDOW = 86400.0, 7 * 86400.0
"""The longest wait, and the longest life of a claim, in seconds, after a machine has restarted with another clock."""
LONGEST_ERROR = 500
"""Characters of an error in a summary: its end, which says what went wrong."""
LEASE = "lease:"
"""The prefix of leases in the table that also has the namespaces."""


class StoreUnavailable(Exception):
    """The store cannot make anything durable now (disk full, read-only, damaged); the message is for the operator.

    Nothing of the call that raised it was kept, unless the disk failed at its very end: then it may be there, and the
    call may be repeated. Servers refuse what they would have to acknowledge.
    """


class MessageState(StrEnum):
    """Where a message is in its life. A message that is handled or dropped is gone and has no state."""

    WAITING = "waiting"
    """A worker may take it when it is due."""
    RUNNING = "running"
    """A worker has it."""
    DEAD = "dead"
    """It was given up, and is kept until an operator requeues or drops it."""


class ClaimState(StrEnum):
    """What the caller of ``claim`` learns."""

    OURS = "ours"
    """Handle the message, then call ``settle`` or ``release``."""
    BUSY = "busy"
    """Another delivery of the message is being handled, by a process that is alive."""
    DONE = "done"
    """The message was handled: answer with ``result``."""


class OutgoingState(StrEnum):
    """Where an outgoing item is in its life. An item that has left or was dropped is gone and has no state."""

    WAITING = "waiting"
    """It is tried when it is due, and the item before it has left."""
    RESTING = "resting"
    """It waits until the account that it leaves by is repaired."""
    LEAVING = "leaving"
    """It is being sent."""
    DEAD = "dead"
    """It was refused for good, or was tried for too long. An operator requeues or drops it."""
    DAMAGED = "damaged"
    """The store no longer has what was put there. An operator drops it."""


class Search(StrEnum):
    """Where an id is looked for."""

    EVENTS = "events"
    """Messages in any state, also those that are gone, claims, and the messages of outgoing items."""
    DEAD = "dead"
    """Dead messages."""
    OUTGOING = "outgoing"
    """Outgoing items."""
    DEAD_OUTGOING = "dead outgoing"
    """Outgoing items that are dead or damaged."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived, and how far it has come."""

    id: str
    """The event id: one per message, from the socket to the last log line."""
    type: str
    """Its scope's type, such as ``email``."""
    route: str
    """The label of the route that took it."""
    key: str
    """Messages of one key are delivered in the order in which they came, where the route asks for that."""
    received: float
    """Unix time."""
    content: bytes
    """Scope and events, as :mod:`gateway.store.codec` writes them."""
    attempts: int = 0
    """How often its handler was started, the present run included."""
    due: float = 0.0
    """Unix time before which it is not tried again."""
    error: str = ""
    """The traceback of the last attempt that failed."""
    subject: str = ""
    """Protocol, sender and recipient, in a few words (:func:`protocols.asgi.describe`)."""
    alone: bool = False
    """Set by ``take``: a process died while it had this message, which may be the reason why it died."""
    priority: int = 0
    """From -1000 to 1000. Among the messages that are due, those of a higher one are taken first. It is set for ``put``
    and is not returned."""

    @property
    def is_ordered(self) -> bool:
        """Whether it waits for older messages of its key: a key that is empty, or its own id, is no other's."""
        return self.key not in ("", self.id)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a message that its sender may repeat."""

    id: str
    """The event id of the first delivery; the same for every repetition."""
    state: ClaimState
    attempts: int
    received: float
    """Unix time of the first delivery."""
    result: bytes = b""
    """What ``settle`` kept."""
    key: str = ""
    """The key to pass to ``settle`` and ``release``. It is not the key that was asked for if the claim was found by
    ``failed_as``."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that a handler sends: a mail, a text, a publication."""

    id: str
    """Its id, which is the same in every attempt, so that the other side can recognize a repetition."""
    message: str
    """The event id of the message whose handler sends it."""
    kind: str
    """The scope type whose server sends it, such as ``sms``."""
    content: bytes
    attempts: int = 0
    due: float = 0.0
    error: str = ""
    lane: str = ""
    """The way that it leaves by, in a few words: if that is slow or down, only items of the same lane wait for it."""
    behind: str = ""
    """The id of the item that has to be gone before this one leaves; empty if there is none."""
    recipient: str = ""
    """Its recipients, for the operator: addresses, a number, a topic."""
    since: float = 0.0
    """When its life began, by the store's clock: it was committed, or an operator requeued it."""
    state: OutgoingState = OutgoingState.WAITING
    """Set by ``get_outgoing``, together with the ``due`` and ``error`` of a lane that rests."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A message without its content, which may be large. :class:`Message` explains the fields."""

    id: str
    type: str
    route: str
    key: str
    subject: str
    received: float
    size: int
    """Bytes of its content."""
    state: MessageState
    attempts: int
    due: float
    error: str
    """Its last ``LONGEST_ERROR`` characters."""


@dataclass(frozen=True, slots=True)
class OutgoingSummary:
    """An outgoing item without its content, and what is still known of the message whose handler sends it."""

    id: str
    message: str
    type: str
    """Its kind, such as ``sms``."""
    lane: str
    behind: str
    route: str
    """The label of the route that took the message; empty if the store no longer knows it."""
    subject: str
    """The subject of the message; empty if the store no longer knows it."""
    received: float | None
    """Unix time at which its life began (``Outgoing.since``); None if that is not known."""
    size: int
    state: OutgoingState
    attempts: int
    due: float
    error: str
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a message's history."""

    at: float
    """Unix time."""
    what: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many there are of each."""

    waiting: int
    running: int
    dead: int
    outgoing: int
    """Items that wait or leave."""
    dead_outgoing: int = 0
    """Items that are dead or damaged."""
