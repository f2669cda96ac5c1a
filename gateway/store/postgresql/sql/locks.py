"""Locks rows and recognizes transactions, for :mod:`gateway.store.joined`.

The mark of a transaction is its number. The number of a savepoint does not count.
"""

import json
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from gateway.store.postgresql.sql.rows import indexed
from gateway.store.rows import text
from gateway.store.states import BUSY, DONE, GONE, RUNNING
from gateway.store.values import Claim, Message

Database = psycopg.Connection[Any]


def is_begun(db: Database) -> bool:
    return not db.autocommit or db.info.transaction_status != TransactionStatus.IDLE


_MESSAGE = f"""SELECT 1 FROM gateway_messages
    WHERE id = %s AND owner = %s AND attempts = %s AND state = {RUNNING} FOR UPDATE"""


def lock_message(db: Database, message: Message, owner: str) -> bool:
    """Lock the row, so that no process takes the message over while the session lives."""
    values = (text(message.id), _number(owner), message.attempts)
    return db.execute(_MESSAGE, values).fetchone() is not None


_CLAIM = f"""SELECT 1 FROM gateway_claims
    WHERE key = %s AND id = %s AND owner = %s AND attempts = %s AND state = {BUSY} FOR UPDATE"""


def lock_claim(db: Database, claim: Claim, owner: str) -> bool:
    values = (indexed(claim.key), text(claim.id), _number(owner), claim.attempts)
    return db.execute(_CLAIM, values).fetchone() is not None


def is_handled(db: Database, message: Message) -> bool:
    sql = f"SELECT 1 FROM gateway_messages WHERE id = %s AND state = {GONE}".encode()
    return db.execute(sql, [text(message.id)]).fetchone() is not None


def is_settled(db: Database, claim: Claim) -> bool:
    sql = f"SELECT 1 FROM gateway_claims WHERE key = %s AND id = %s AND state = {DONE}".encode()
    return db.execute(sql, (indexed(claim.key), text(claim.id))).fetchone() is not None


def _number(owner: str) -> int:
    """The owner's number; -1, which no owner has, if the store is not open."""
    return int(owner) if owner.isdecimal() else -1


_MARK = """SELECT json_build_array(pg_current_xact_id()::text, current_setting('role'),
    current_setting('search_path'))::text"""
_IS_SAME = b"""SELECT pg_current_xact_id_if_assigned()::text, set_config('role', %s, true),
    set_config('search_path', %s, true)"""


def mark(db: Database) -> str:
    """Return the transaction's number, and the role and search path by which the store reaches its tables."""
    return str(_value(db, _MARK))


def is_same(db: Database, mark: str) -> bool:
    """A handler may have set another role or search path for its own tables, such as those of a tenant."""
    number, role, path = json.loads(mark)
    row = db.execute(_IS_SAME, (role, path)).fetchone()
    return row is not None and row[0] == number


def now(db: Database) -> float:
    return float(_value(db, "SELECT extract(epoch FROM clock_timestamp())"))


def _value(db: Database, sql: str) -> Any:
    row = db.execute(sql.encode()).fetchone()
    return None if row is None else row[0]
