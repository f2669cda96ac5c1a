"""The parts together."""

from gateway.store.sqlite.claims import Claims
from gateway.store.sqlite.inbox import Inbox
from gateway.store.sqlite.key_value import KeyValue
from gateway.store.sqlite.operator import Operator
from gateway.store.sqlite.outbox import Outbox
from gateway.store.sqlite.upkeep import Upkeep


class SQLiteStore(Inbox, Claims, Outbox, KeyValue, Operator, Upkeep):
    """A :class:`gateway.store.interfaces.Store` in the file at ``path``."""
