"""A store with all its parts."""

from gateway.store.parts.claims import Claims
from gateway.store.parts.inbox import Inbox
from gateway.store.parts.key_value import KeyValue
from gateway.store.parts.leases import Leases
from gateway.store.parts.notes import Notes
from gateway.store.parts.operator import Operator
from gateway.store.parts.outbox import Outbox
from gateway.store.parts.transactions import Transactions
from gateway.store.parts.upkeep import Upkeep


class WholeStore(Inbox, Claims, Outbox, KeyValue, Leases, Notes, Operator, Transactions, Upkeep):
    """A :class:`gateway.store.interfaces.Store`, which an engine completes."""
