"""What delivery has one of in a gateway: the guards of its routes, its worker and its outbox share it."""

from dataclasses import dataclass, field

from gateway.delivery.keep import Keep
from gateway.delivery.notifier import Notifier
from gateway.delivery.outcomes import Outcomes
from gateway.delivery.route_table import RouteTable
from gateway.delivery.running_attempts import RunningAttempts
from gateway.services import Service
from gateway.store import Store
from protocols.tasks import Tasks


@dataclass(frozen=True, eq=False)
class Deliveries:
    """A gateway has it where some route has a policy, or a server keeps its state."""

    store: Store
    keep: Keep = field(default_factory=Keep)
    """How long what handlers send is tried."""
    routes: RouteTable = field(default_factory=RouteTable)
    """Of the application that this gateway serves."""
    stored: Notifier = field(default_factory=Notifier)
    """Notifies when a message was put into the store."""
    outgoing: Notifier = field(default_factory=Notifier)
    """Notifies when something to send was committed."""
    attempts: RunningAttempts = field(default_factory=RunningAttempts)
    """Attempts whose senders wait for the answer."""
    owed: Tasks = field(default_factory=lambda: Tasks("store"))
    """Store calls that no request waits for. They are cancelled at the end, and the next start makes up for them."""
    outcomes: Outcomes = field(default_factory=Outcomes)


deliveries: Service[Deliveries] = Service("store")
