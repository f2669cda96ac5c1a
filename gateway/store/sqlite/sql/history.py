"""Histories; :mod:`gateway.store.story` says how they are written."""

import sqlite3
from collections.abc import Sequence

from gateway.store.rows import text
from gateway.store.story import told
from gateway.store.values import HistoryEntry

_READ = "SELECT received, story FROM claims WHERE id = ?1 UNION ALL SELECT received, story FROM messages WHERE id = ?1"


def read(db: sqlite3.Connection, calls: Sequence[str]) -> list[list[HistoryEntry]]:
    return [told(db.execute(_READ, [text(event)]).fetchall()) for event in calls]
