"""Recognizes what is ours, and a transaction, for :mod:`gateway.store.joined`.

The mark of a transaction is its number. A savepoint has another one, which does not count here.
"""

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from gateway.store.postgresql.sql.rows import indexed
from gateway.store.postgresql.sql.schema import BUSY, RUNNING
from gateway.store.rows import text
from gateway.store.values import Claim, Message

Database = psycopg.Connection[Any]


def is_begun(db: Database) -> bool:
    return not db.autocommit or db.info.transaction_status != TransactionStatus.IDLE


_MESSAGE = f"""SELECT 1 FROM gateway_messages
    WHERE id = %s AND owner = %s AND attempts = %s AND state = {RUNNING} FOR UPDATE"""


def lock_message(db: Database, message: Message, owner: str) -> bool:
    """Lock the row: while the session lives, nobody takes the message over."""
    values = (text(message.id), _number(owner), message.attempts)
    return db.execute(_MESSAGE, values).fetchone() is not None


_CLAIM = f"""SELECT 1 FROM gateway_claims
    WHERE key = %s AND id = %s AND owner = %s AND attempts = %s AND state = {BUSY} FOR UPDATE"""


def lock_claim(db: Database, claim: Claim, owner: str) -> bool:
    values = (indexed(claim.key), text(claim.id), _number(owner), claim.attempts)
    return db.execute(_CLAIM, values).fetchone() is not None


def _number(owner: str) -> int:
    """The owner's number; that of nobody where the store is not open."""
    return int(owner) if owner.isdecimal() else -1


def mark(db: Database) -> str:
    return str(_value(db, "SELECT pg_current_xact_id()::text"))


def is_same(db: Database, mark: str) -> bool:
    return bool(_value(db, "SELECT pg_current_xact_id_if_assigned()::text") == mark)


def now(db: Database) -> float:
    return float(_value(db, "SELECT extract(epoch FROM clock_timestamp())"))


def _value(db: Database, sql: str) -> Any:
    row = db.execute(sql.encode()).fetchone()
    return None if row is None else row[0]
