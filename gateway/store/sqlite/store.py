"""The parts together."""

from gateway.store.sqlite.claims import SQLiteClaims
from gateway.store.sqlite.inbox import SQLiteInbox
from gateway.store.sqlite.key_value import SQLiteKeyValue
from gateway.store.sqlite.leases import SQLiteLeases
from gateway.store.sqlite.notes import SQLiteNotes
from gateway.store.sqlite.operator import SQLiteOperator
from gateway.store.sqlite.outbox import SQLiteOutbox
from gateway.store.sqlite.upkeep import SQLiteUpkeep


class SQLiteStore(
    SQLiteInbox, SQLiteClaims, SQLiteOutbox, SQLiteKeyValue, SQLiteLeases, SQLiteNotes, SQLiteOperator, SQLiteUpkeep
):
    """A :class:`gateway.store.interfaces.Store` in the file at ``path``."""
