"""What a store keeps, and what an engine does. One contract suite holds every engine to it.

A message is *waiting* until a worker takes it, *running* while one has it, and then gone, waiting again, or *dead*. A
claim is one delivery of one message by its sender, known again when the sender repeats it. An outgoing item is what a
handler sends; it is committed together with that handler's "done".

Every method returns after its change is durable: on disk, fsynced. Many calls at once share one commit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

KEEP = 86400.0
"""Seconds for which the story of a message is kept after it is gone."""
KEEP_STORIES = 200_000
"""Stories of messages that are gone, at most: a busy gateway forgets earlier."""

LONGEST_WAIT, LONGEST_WINDOW = 86400.0, 7 * 86400.0
"""Seconds that anything waits, or a claim is known, at most, after the machine has started again with another clock."""
LONGEST_ERROR = 500
"""Characters of an error in a summary: its end, which says what went wrong."""
Among = Literal["events", "dead", "outgoing", "dead outgoing"]
"""Where an id is looked up: among all that the store knows, the dead messages, what has not left, or what of it is
dead."""


class StoreUnavailable(Exception):
    """The store cannot make anything durable now (disk full, read-only, damaged); the message is for the operator.

    Nothing of the call that raised it was kept. Servers refuse what they would have to acknowledge.
    """


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it arrived, and how far it has come."""

    id: str
    """The event id: one per message, from the socket to the last log line."""
    type: str
    """Its scope's type: ``mqtt``, ``email`` or ``sms``."""
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
    """What the last attempt failed with: the traceback."""
    subject: str = ""
    """Who sent what to whom, in a few words (:func:`protocols.asgi.describe`)."""
    alone: bool = False
    """As ``take`` gives it: a process died while it had this one, which may have been what killed it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a message that its sender may repeat."""

    id: str
    """The event id of the first delivery; the same for every repetition."""
    state: Literal["ours", "busy", "done"]
    """``ours``: handle it, then ``settle`` or ``release``. ``busy``: somebody alive is at it. ``done``: ``result``."""
    attempts: int
    received: float
    """Unix time of the first delivery."""
    result: bytes = b""
    """What ``settle`` kept."""
    key: str = ""
    """What ``settle`` and ``release`` name: of one that was found as ``failed_as`` not the key that was asked for."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that a handler sends: a mail, a text, a publication."""

    id: str
    """Stable over every attempt, so that the other side can know it again."""
    message: str
    """The event id of the message whose handler sends it."""
    kind: str
    """Who takes it: ``email``, ``sms`` or ``mqtt``."""
    content: bytes
    attempts: int = 0
    due: float = 0.0
    error: str = ""
    lane: str = ""
    """What it leaves by, in a few words: where that is slow or away, only items of the same lane wait for it."""
    behind: str = ""
    """The id of the item that has to be gone before it leaves; empty where none has."""
    recipient: str = ""
    """To whom it goes, for the operator: addresses, a number, a topic."""
    since: float = 0.0
    """When its life began, by the store's clock: when it was committed, or an operator let it be tried again."""
    state: Literal["waiting", "resting", "leaving", "dead", "damaged"] = "waiting"
    """As ``get_outgoing`` gives it, with the ``due`` and ``error`` of a lane that rests."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A message without its content, which may be large. What a field means :class:`Message` says."""

    id: str
    type: str
    route: str
    key: str
    subject: str
    received: float
    size: int
    """Bytes of its content."""
    state: Literal["waiting", "running", "dead"]
    attempts: int
    due: float
    error: str
    """The last ``LONGEST_ERROR`` characters of it."""


@dataclass(frozen=True, slots=True)
class OutgoingSummary:
    """Something to be sent, without its content, and what is still known of the message whose handler sends it."""

    id: str
    message: str
    type: str
    """Its kind: ``email``, ``sms`` or ``mqtt``."""
    lane: str
    behind: str
    route: str
    """The label of the route that took the message; empty where it is forgotten."""
    subject: str
    """The message's, as long as it is known."""
    received: float | None
    """Unix time at which its life began (``Outgoing.since``); None where that is not known."""
    size: int
    state: Literal["waiting", "resting", "leaving", "dead", "damaged"]
    """``resting``: it waits until the account that it leaves by is repaired. ``dead``: refused for good, or its life is
    over."""
    attempts: int
    due: float
    error: str
    recipient: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a message's story."""

    at: float
    """Unix time."""
    what: str


@dataclass(frozen=True, slots=True)
class Counts:
    waiting: int
    running: int
    dead: int
    outgoing: int
    """Items that wait or leave."""
    dead_outgoing: int = 0
    """Items that are dead or damaged."""


class Store(Protocol):
    """An engine. ``open`` before, ``close`` after; everything else may be called many times at once.

    What a process had taken or claimed when it died is given back by the next ``open`` of any process, or by
    ``recover``; what a living process has is left alone.
    """

    async def open(self) -> str:
        """Create, migrate and check. What was found, in one line; empty when all is well. Raises StoreUnavailable."""

    async def close(self) -> None: ...

    def now(self) -> float:
        """By the store's own clock, which is what ``now`` and ``due`` are of: Unix time that nobody sets while the
        machine runs, the same in every process. What an operator asks for is in the time that the machine has today."""

    # Messages.

    async def put(self, message: Message, *, claim: str | None = None) -> None:
        """Keep ``message``, waiting. Where ``claim`` is given, that claim is settled in the same commit."""

    async def put_all(self, messages: Sequence[Message]) -> None:
        """Keep all of ``messages``, waiting, in this order; all or none."""

    async def take(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Message]:
        """At most ``limit`` waiting messages that are due, oldest first, none with a key in ``busy`` and not two of one
        key. They are running and ours now; the attempt is counted.

        What a dead process had goes before all others and comes ``alone``, with nothing else in the list and while no
        other such message runs in any process: the next death is then counted for the one that caused it, not for its
        neighbours. Once an attempt has ended by itself it is a message like any other.
        """

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:  # noqa: A002
        """A running message is handled: forget it, keep what its handler sends."""

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:  # noqa: A002
        """A running message failed: it waits until ``due``. Its attempt stays counted, unless it was no failure: a
        handler may say "not now"."""

    async def bury(self, message: Message, *, error: str, claim: str | None = None) -> None:
        """``message``, running or not yet known, is dead: kept until an operator says otherwise."""

    async def next_due(self) -> float | None:
        """When the next waiting message is due; None where none waits."""

    # Claims.

    async def claim(
        self,
        key: str,
        *,
        id: str,  # noqa: A002
        now: float,
        ttl: float,
        failed_as: str = "",
    ) -> Claim:
        """Claim ``key`` for the new event ``id``, or learn what became of it. Ours: the attempt is counted.

        Where ``key`` is new, and one with the same ``failed_as`` has failed and was not claimed again, this is that
        one. What is busy or done is only found by its key. ``ttl``: seconds for which it is known, from now on.
        """

    async def settle(self, key: str, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        """The claimed message is handled: keep ``result`` for repetitions, and what its handler sends."""

    async def release(self, key: str, *, error: str, counted: bool = True) -> None:
        """The claimed message failed: its repetition may claim it. Its attempt stays counted, as with ``retry``."""

    # Dead letters.

    async def dead(
        self,
        *,
        type: str | None = None,  # noqa: A002
        route: str | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[Summary]:
        """Dead messages, oldest first, from behind the id ``after``."""

    async def revive(self, ids: Sequence[str]) -> int:
        """Dead messages wait again, their attempts forgotten; how many there were."""

    async def drop(self, ids: Sequence[str]) -> int:
        """Dead messages are gone for good; how many there were."""

    # What handlers send.

    async def take_outgoing(self, limit: int, *, now: float, busy: Collection[str] = ()) -> list[Outgoing]:
        """At most ``limit`` items that are due, oldest first, none of a lane in ``busy`` and none behind another that
        is still there; ours now, the attempt counted. Of a lane that rests there is none before its time, and then one
        alone."""

    async def sent(self, id: str) -> None:  # noqa: A002
        """It has left: it is forgotten, and its lane rests no longer."""

    async def postpone(
        self,
        id: str,  # noqa: A002
        *,
        due: float,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        rests: bool = False,
    ) -> None:
        """It has not left and waits until ``due``; ``left``: that is what is still to be sent of it; ``refused``: that
        part is dead, and an item of its own. ``rests``: it is its lane that rests until then, and this attempt does not
        count."""

    async def bury_outgoing(
        self,
        id: str,  # noqa: A002
        *,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        answered: bool = False,
    ) -> None:
        """It will not leave: kept until an operator says otherwise, with all that is behind it. ``left`` and
        ``refused`` as for ``postpone``. ``answered``: the other side refuses this item alone, so that its lane rests no
        longer."""

    async def wake(self) -> None:
        """Lanes that rest may try one item at once."""

    async def revive_outgoing(self, ids: Sequence[str]) -> int:
        """Those that wait or are dead are due now and begin a new life, their attempts forgotten, their lanes awake;
        how many there were. Dead parts of the same whole, before and behind them, come with them. What is damaged stays
        so."""

    async def drop_outgoing(self, ids: Sequence[str], *, dead: bool = False) -> int:
        """Not to be sent, gone for good; how many there were, without those that are leaving at this moment, or, if
        ``dead``, without all that are not dead."""

    # What a server keeps of its own state.

    async def load(self, space: str) -> dict[str, bytes]:
        """Everything in ``space``, by key. The space is this process's until it closes the store; raises
        StoreUnavailable where another living process has it."""

    async def keep(self, space: str, changes: Mapping[str, bytes | None]) -> None:
        """Put the values and remove the keys with None, all or none."""

    # What an operator asks.

    async def waiting(
        self,
        *,
        type: str | None = None,  # noqa: A002
        route: str | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[Summary]:
        """Messages that wait or run, oldest first, from behind the id ``after``."""

    async def outgoing(
        self,
        *,
        type: str | None = None,  # noqa: A002
        message: str | None = None,
        dead: bool | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[OutgoingSummary]:
        """What has not left; ``message``: of that one's handler; ``dead``: what is dead or damaged, or what is not. In
        the order of their ids, from behind the id ``after``."""

    async def find(self, prefix: str, *, among: Among = "events", limit: int = 10) -> list[str]:
        """The ids that begin with ``prefix``, in order. Of events: messages in any state, also those gone, and claims;
        and the message of something to be sent whose own id begins so."""

    async def get(self, id: str) -> Message | None: ...  # noqa: A002

    async def summary(self, id: str) -> Summary | None: ...  # noqa: A002

    async def get_outgoing(self, id: str) -> Outgoing | None: ...  # noqa: A002

    async def story(self, id: str) -> list[Step]:  # noqa: A002
        """What happened to an event, oldest first, also after it is gone, for ``KEEP`` seconds."""

    async def counts(self) -> Counts: ...

    async def probe(self) -> None:
        """Commit something that changes nothing. Raises StoreUnavailable where nothing can be stored now."""

    async def recover(self) -> int:
        """Give back what dead processes had taken or claimed; how many."""

    async def purge(self, *, now: float) -> int:
        """Forget claims that have expired, and the stories of what is long gone; how many rows."""
