"""What an engine does, in small interfaces: the type of a parameter says which part of the store its user needs.

A message is *waiting* until a worker takes it, *running* while a worker has it, and then gone, waiting again, or
*dead*. A claim is one delivery of a message by its sender, recognized when the sender repeats it. An outgoing item is
something that a handler sends; it is committed together with that handler's "done".

Every method that changes something returns after the change is durable: on disk, fsynced. The exception is ``claim``:
nothing is acknowledged by it. Calls that wait at the same moment may share a commit. ``tests/store_contract.py`` holds
every engine to all of this.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gateway.store.figures import Commits, Holdings
from gateway.store.transaction import OpenTransaction, Transaction, TransactionStore
from gateway.store.values import Claim, Counts, HistoryEntry, Message, Outgoing, OutgoingSummary, Search, Summary


class Clock(Protocol):
    def now(self) -> float:
        """Unix time by the store's own clock, to which ``now`` and ``due`` of the other calls refer. Nobody sets it
        while the gateway runs, and it is the same in every process that has the store open. Only an operator reads
        times of the machine's clock."""


class InboxStore(Clock, Protocol):
    """Messages that are acknowledged when they are stored, and handled from the store."""

    async def put(self, message: Message) -> None:
        """Keep ``message``, waiting. Raises ValueError if a message with its id is already kept."""

    async def put_all(self, messages: Sequence[Message], *, begin: int = 0, now: float = 0.0) -> list[Message]:
        """Keep all of ``messages``, in this order; all or none. They wait, except those that are returned, at most
        ``begin`` of them: those are running and ours, as if ``take`` had returned them. None is begun while another
        message is due, or one that a dead process had is still there."""

    async def put_once(
        self, message: Message, *, key: str, now: float, ttl: float, failed_as: str = "", begin: bool = False
    ) -> tuple[Claim, Message | None]:
        """``claim`` for the event ``message.id``; if the claim is ours, keep the message and settle the claim, all in
        one commit. The message has the id and the time of the claim. It is returned if it is running and ours, which
        it may only be if ``begin``; see ``put_all``."""

    async def take(
        self, limit: int, *, now: float, busy: Collection[str] = (), full: Collection[tuple[str, str]] = ()
    ) -> list[Message]:
        """Take at most ``limit`` waiting messages that are due, those of the highest priority first, and of these the
        oldest; none with a key in ``busy``, none with a scope type and a route's label in ``full``, and not two of one
        key. They are running and ours now; the attempt is counted.

        What a dead process had goes before all others and comes ``alone``, with nothing else in the list and while no
        other such message runs in any process: the next death is then charged to the message that caused it, not to its
        neighbours. Once an attempt has ended by itself it is a message like any other.
        """

    async def finish(self, id: str, *, outgoing: Sequence[Outgoing] = ()) -> None:
        """A running message is handled: forget it, and keep what its handler sends."""

    async def finish_all(self, ids: Sequence[str]) -> None:
        """Running messages are handled, whose handlers send nothing: forget them, in one commit."""

    async def retry(self, id: str, *, due: float, error: str, counted: bool = True) -> None:
        """A running message failed: let it wait until ``due``. Its attempt is not ``counted`` if it was no failure: a
        handler may say "not now"."""

    async def dead_letter(self, message: Message, *, error: str, claim: Claim | None = None) -> None:
        """``message``, running or not kept yet, is dead: keep it until an operator requeues or drops it. If ``claim``
        is given, that claim is settled in the same commit."""

    async def is_known(self, id: str) -> bool:
        """Whether a message with this id was put, also if it is gone, as long as its history is kept."""

    async def next_due(self) -> float | None:
        """Return the time at which the next waiting message is due; None if none waits."""


class ClaimStore(Clock, Protocol):
    """Messages whose senders wait for the handler, and repeat a message that was not acknowledged."""

    async def claim(self, key: str, *, id: str, now: float, ttl: float, failed_as: str = "") -> Claim:
        """Claim ``key`` for the new event ``id``, or learn what became of it. If the claim is ours, the attempt is
        counted. That outlives this process; a power cut before the next durable change may undo it. ``ttl``: seconds
        for which it is known, from now on.

        If ``key`` is new, and a claim with the same ``failed_as`` has failed and was not claimed again, it is that one.
        A claim that is busy or done is found by its key only.
        """

    async def settle(self, claim: Claim, *, result: bytes, outgoing: Sequence[Outgoing] = ()) -> None:
        """The claimed message is handled: keep ``result`` for repetitions, and what its handler sends."""

    async def release(self, key: str, *, error: str, counted: bool = True) -> None:
        """The claimed message failed: its repetition may claim it. ``counted`` as for ``retry``."""


class OutboxStore(Clock, Protocol):
    """What handlers send, until it has left. An item leaves by a lane, and a lane may rest."""

    async def put_outgoing(self, items: Sequence[Outgoing]) -> None:
        """Keep ``items``, which no handler sends. One whose id is known is the same item, and is kept once."""

    async def take_outgoing(
        self, limit: int, *, now: float, busy: Collection[str] = (), late: Collection[str] = ()
    ) -> list[Outgoing]:
        """Take at most ``limit`` items that are due, oldest first, none of a lane in ``busy`` and none behind another
        that is still there; ours now, the attempt counted. From a lane that rests nothing is taken before its time, and
        then one item alone. From a lane in ``late``, only what has been due for some seconds is taken: another
        process may be able to send it sooner."""

    async def finish_outgoing(self, id: str) -> None:
        """The item has left: forget it, and end the rest of its lane."""

    async def retry_outgoing(
        self,
        id: str,
        *,
        due: float,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        rests: bool = False,
        counted: bool = True,
    ) -> None:
        """The item has not left: let it wait until ``due``. Its attempt is not ``counted`` if it was not tried.

        ``left``: this is what is still to be sent of it. ``refused``: this part of it is dead, as an item of its own.
        ``rests``: not the item but its lane waits until ``due``, and this attempt does not count.
        """

    async def dead_letter_outgoing(
        self,
        id: str,
        *,
        error: str,
        left: Outgoing | None = None,
        refused: Outgoing | None = None,
        answered: bool = False,
    ) -> None:
        """The item will not leave: keep it, and all items behind it, until an operator requeues or drops them.

        ``left`` and ``refused`` as for ``retry_outgoing``. ``answered``: the other side refuses this item alone, so
        that its lane no longer rests.
        """

    async def tell_history(self, event: str, what: str, *, ttl: float) -> None:
        """Add a line to the history of ``event``. If it has none, because code outside of handlers sent something, it
        has one from now on, for ``ttl`` seconds."""

    async def wake_lanes(self) -> None:
        """Let each lane that rests try one item at once."""


class KeyValueStore(Protocol):
    """A server's own state: values by key, in a namespace of its own."""

    async def load(self, namespace: str) -> dict[str, bytes]:
        """Everything in ``namespace``, by key. The namespace is this store's until it is closed, or until
        :meth:`release_namespaces`; raises StoreUnavailable if another one that is open has it."""

    async def save(self, namespace: str, changes: Mapping[str, bytes | None]) -> None:
        """Put the values and remove the keys whose value is None, all or none."""

    async def release_namespaces(self) -> None:
        """Give every namespace up, so that another process may load it."""


class LeaseStore(Protocol):
    """Roles that one process has at a time, among all that have the store open. A lease and a namespace with the same
    name are independent."""

    async def acquire(self, name: str) -> bool:
        """Take the lease ``name``. Returns whether it is ours, from before or from now on: until
        :meth:`release_lease`, ``close``, or the death of this process. False if another living process has it."""

    async def release_lease(self, name: str) -> None:
        """Give the lease up. Do nothing if it is not ours."""

    async def wait_lost(self) -> None:
        """Return when other processes have declared this one dead, because it was paused or cut off from the store.
        Its leases and namespaces may be theirs then. It never returns for an engine that cannot make that mistake."""

    async def bury(self, owner: str) -> None:
        """Take over from the process with this :attr:`Store.owner` now: its parent knows that it has died. Do not wait
        for its timeout. Do nothing if the engine detects dead processes by itself."""


class NoteStore(Protocol):
    """Short notes, each under a key, for every process that has the store."""

    async def note(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep ``value`` under ``key`` for ``ttl`` seconds, in the place of what was there."""

    async def swap_note(self, key: str, before: bytes | None, value: bytes | None, *, ttl: float) -> bool:
        """Keep ``value`` for ``ttl`` seconds in the place of ``before``, if that is what is under ``key``; None is no
        note. Return whether it was. Of several processes that do this at once, with one ``before``, one succeeds."""

    async def noted(self, keys: Sequence[str]) -> bytes | None:
        """Return what is kept under the first of ``keys`` that has something; None if none has."""


class OperatorStore(Protocol):
    """What an operator looks up and changes. Times are those of the machine's clock today.

    A list comes in pages: pass the id of the last entry as ``after`` to get the next page.
    """

    async def waiting(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        """Messages that wait or run, oldest first."""

    async def dead(
        self, *, type: str | None = None, route: str | None = None, limit: int = 1000, after: str = ""
    ) -> list[Summary]:
        """Dead messages, oldest first."""

    async def outgoing(
        self,
        *,
        type: str | None = None,
        message: str | None = None,
        dead: bool | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[OutgoingSummary]:
        """Outgoing items in the order of their ids. ``message``: only those that its handler sent. ``dead``: only those
        that are dead or damaged, or only the others."""

    async def find(self, prefix: str, *, within: Search = Search.EVENTS, limit: int = 10) -> list[str]:
        """The ids that begin with ``prefix``, in order. Of ``Search.EVENTS``, an outgoing item's own id finds its
        message."""

    async def get(self, id: str) -> Message | None:
        """The message with its content; None if it is gone."""

    async def summary(self, id: str) -> Summary | None:
        """The message without its content; None if it is gone."""

    async def get_outgoing(self, id: str) -> Outgoing | None:
        """The item with its content; None if it is gone."""

    async def history(self, id: str) -> list[HistoryEntry]:
        """What happened to an event, oldest first, also after it is gone, for ``KEEP`` seconds."""

    async def counts(self) -> Counts: ...

    async def requeue(self, ids: Sequence[str]) -> int:
        """Let dead messages wait again, their attempts forgotten; how many there were."""

    async def drop(self, ids: Sequence[str]) -> int:
        """Forget dead messages for good; how many there were."""

    async def requeue_outgoing(self, ids: Sequence[str]) -> int:
        """Make items that wait or are dead due now, with a new life: their attempts forgotten, their lanes awake; how
        many there were. Dead parts of the same text, before and behind them, come with them. What is damaged stays
        so."""

    async def drop_outgoing(self, ids: Sequence[str], *, dead: bool = False) -> int:
        """Forget items for good, without sending them; how many there were. Those that are leaving at this moment stay;
        if ``dead``, all that are not dead stay."""


class UpkeepStore(Clock, Protocol):
    """What a running gateway does for the store itself."""

    async def probe(self) -> None:
        """Commit something that changes nothing. Raises StoreUnavailable if nothing can be stored now."""

    async def recover(self) -> int:
        """Give back what dead processes had taken or claimed; how many."""

    async def purge(self, *, now: float) -> int:
        """Forget claims that have expired, and the histories of messages that are long gone; how many rows."""


class MeasuredStore(Protocol):
    """The figures of a store, for metrics."""

    commits: Commits
    """What this process has committed."""

    @property
    def calls_waiting(self) -> int:
        """Calls of this process that are not over yet."""

    async def holdings(self) -> Holdings:
        """Count what there is, or return what was counted a moment ago: the more there is, the longer ago."""


class WakingStore(Protocol):
    """Wake-ups from other processes that share the store."""

    def listen(self, messages: Callable[[], None], outgoing: Callable[[], None]) -> None:
        """Call ``messages``, or ``outgoing``, in the event loop when another process may have stored something that
        waits. An engine need not do so, because workers also poll. Call this after ``open``."""


class TransactionalStore(UpkeepStore, Protocol):
    """A store that can commit a handler's own rows together with its own changes."""

    def transaction(self) -> Transaction:
        """A new connection for transactions of handlers. It is opened by the first of them."""


class Engine(Protocol):
    """A place for a store, as a URL names it: a file, a database on a server. Nothing is opened yet.

    ``str()`` is what people call the place, without passwords.
    """

    @property
    def path(self) -> Path | None:
        """The store's file, beside which other files of the gateway may lie. None: it is no file on this machine."""

    def store(self) -> "Store":
        """The store in this place, as one process has it. It is not opened yet."""

    def joined(self, connection: Any, owner: str = "") -> TransactionStore:
        """Take part in the transaction that is open on ``connection``, a DB-API connection of the engine's driver to
        this place. ``owner``: :attr:`Store.owner` of the open store that has taken the message or the claim."""

    def open_transaction(self) -> OpenTransaction | None:
        """The transaction that the calling thread has open on this place, where the engine can see it. None if
        there is no such transaction."""

    def exists(self) -> bool:
        """Whether there is a store in this place. A command for operators makes none."""

    def faults(self) -> Sequence[str]:
        """Why ``open`` cannot succeed on this machine, a sentence for each reason. This changes nothing. A fault that
        may pass is left out: a server that does not answer now may answer later."""

    def check_shared(self) -> None:
        """Raises StoreUnavailable if ``open`` would migrate a store of an earlier release that another process has
        open."""


class Store(
    InboxStore,
    ClaimStore,
    OutboxStore,
    KeyValueStore,
    LeaseStore,
    NoteStore,
    OperatorStore,
    TransactionalStore,
    MeasuredStore,
    WakingStore,
    Protocol,
):
    """All of it: what an engine makes. ``open`` before, ``close`` after; everything else may be called many times at
    once.

    What a process had taken or claimed when it died is given back by the next ``open`` of any process, or by
    ``recover``; what a living process has is left alone.
    """

    @property
    def owner(self) -> str:
        """The id of this open store, which owns what it has taken and claimed; empty if it is not open."""

    async def open(self) -> str:
        """Create, migrate and check. What was found, in one line; empty when all is well. Raises StoreUnavailable."""

    async def close(self) -> None:
        """Finish what was asked for, and give up what is ours."""


class MovableStore(Store, Protocol):
    """A store for tests."""

    def move(self, seconds: float) -> None:
        """Let its clock be ``seconds`` later."""

    async def due_now(self) -> int:
        """How many messages and outgoing items run, or are due."""

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Execute a statement on its database, and return the rows: for the tables of handlers with ``atomic: true``.
        Raises the driver's errors."""
