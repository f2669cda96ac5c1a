"""Locks rows and recognizes transactions, for :mod:`gateway.store.joined`.

The mark of a transaction is a savepoint. It ends with a commit or a roll-back, also one that SQLite does by itself
after an error, so that the next transaction does not have it.
"""

import sqlite3

from gateway.store.elapsed import elapsed
from gateway.store.rows import text
from gateway.store.sqlite.sql import clock
from gateway.store.states import BUSY, DONE, GONE, RUNNING
from gateway.store.values import Claim, Message

_MARK = "gateway_transaction"


def is_begun(db: sqlite3.Connection) -> bool:
    return db.in_transaction


def lock_message(db: sqlite3.Connection, message: Message, owner: str) -> bool:
    """Take the write lock: to read first could end in SQLITE_BUSY_SNAPSHOT, which waits for nothing."""
    sql = f"UPDATE messages SET owner = owner WHERE id = ? AND owner = ? AND attempts = ? AND state = {RUNNING}"
    return db.execute(sql, (text(message.id), owner, message.attempts)).rowcount == 1


def lock_claim(db: sqlite3.Connection, claim: Claim, owner: str) -> bool:
    sql = f"""UPDATE claims SET owner = owner
        WHERE key = ? AND id = ? AND attempts = ? AND owner = ? AND state = {BUSY}"""
    return db.execute(sql, (text(claim.key), text(claim.id), claim.attempts, owner)).rowcount == 1


def is_handled(db: sqlite3.Connection, message: Message) -> bool:
    sql = f"SELECT 1 FROM messages WHERE id = ? AND state = {GONE}"
    return db.execute(sql, [text(message.id)]).fetchone() is not None


def is_settled(db: sqlite3.Connection, claim: Claim) -> bool:
    sql = f"SELECT 1 FROM claims WHERE key = ? AND id = ? AND state = {DONE}"
    return db.execute(sql, (text(claim.key), text(claim.id))).fetchone() is not None


def mark(db: sqlite3.Connection) -> str:
    """Set the savepoint. It may exist already: the name then means the latest one."""
    db.execute(f"SAVEPOINT {_MARK}")
    return _MARK


def is_same(db: sqlite3.Connection, mark: str) -> bool:
    try:
        db.execute(f"RELEASE {mark}")
    except sqlite3.OperationalError:  # no such savepoint
        return False
    db.execute(f"SAVEPOINT {mark}")
    return True


def now(db: sqlite3.Connection) -> float:
    return elapsed() + clock.ahead(db)
