"""What the guards, the worker and the outbox of one gateway share."""

from collections.abc import Callable

from gateway.delivery.delivery_counters import delivery_counters
from gateway.delivery.inbox import Inbox
from gateway.delivery.keep import Keep
from gateway.delivery.notifier import Notifier
from gateway.delivery.observer import DeliveryObserver
from gateway.delivery.outgoing_counters import OutgoingCounters
from gateway.delivery.route_table import RouteTable
from gateway.delivery.running_attempts import RunningAttempts
from gateway.delivery.store_use import StoreUse
from gateway.services import Service
from gateway.store import ClaimStore, InboxStore, OpenTransaction, Store
from protocols.tasks import Tasks

FindTransaction = Callable[[], OpenTransaction | None]
"""Returns the transaction that the calling thread has open on the store's database, if it has one."""


def no_transaction() -> None:
    """No code has one."""


class Deliveries:
    """A gateway has it where some route has a policy, or a server keeps its state.

    The store is here once for each of its users, as what that user may ask of it.
    """

    def __init__(
        self,
        store: Store,
        keep: Keep | None = None,
        routes: RouteTable | None = None,
        before: "Deliveries | None" = None,
        open_transaction: FindTransaction = no_transaction,
    ) -> None:
        """``before``: those of the gateway from which this one takes over, with the same store."""
        self.store = store
        self.use: StoreUse = StoreUse(store) if before is None else before.use
        """Opens the store with the first gateway that uses it, and closes it with the last."""
        self.open_transaction = open_transaction
        self.messages: InboxStore = store
        self.claims: ClaimStore = store
        self.inbox: Inbox = Inbox(store) if before is None else before.inbox
        """The inbox, for messages that are handled from the store: by the gateway that came last."""
        self.keep = keep or Keep()
        """How long what handlers send is tried."""
        self.routes = routes or RouteTable()
        """The routes of the application that this gateway serves."""
        self.outgoing: Notifier = Notifier() if before is None else before.outgoing
        """Notifies when something to send was committed."""
        self.attempts = RunningAttempts()
        """Attempts whose senders wait for the answer."""
        self.owed = Tasks("store")
        """Store calls that no request waits for. They are cancelled at the end; the next start makes up for them."""
        self.counters: OutgoingCounters = OutgoingCounters() if before is None else before.counters
        self.ends = delivery_counters(self.routes)
        self.absent: set[str] = set()
        """Outgoing lanes that leave by a server of another worker."""
        self.observer: DeliveryObserver | None = None
        """Told of attempts at what is stored, while somebody listens."""

    def notify(self) -> None:
        """There is something new in the store. Other processes may not know it yet."""
        self.outgoing.notify()
        self.inbox.waiting.notify()

    def hear(self) -> None:
        """Another process has put something there, and tells all."""
        self.outgoing.hear()
        self.inbox.waiting.hear()

    def for_successor(self, keep: Keep, routes: RouteTable) -> "Deliveries":
        """Return those of a gateway that has the same store, and takes over from this one."""
        return Deliveries(self.store, keep, routes, self, self.open_transaction)


deliveries: Service[Deliveries] = Service("store")
