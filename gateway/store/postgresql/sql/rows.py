"""Rows of PostgreSQL. What all engines have in common is in :mod:`gateway.store.rows`."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from gateway.store.rows import text

LONGEST_KEY = 2000
"""Bytes of a text in an index, which takes a third of a page (2,700 bytes) at most."""
_SHORT = LONGEST_KEY // 4
"""Characters that have no more bytes than that."""


def indexed(value: str) -> str:
    """``value`` as an index can hold it. A longer one, such as a topic of 64 KiB, keeps its beginning, and a digest for
    the rest: it still is the key of the same messages. What this returns it leaves as it is."""
    value = text(value)
    if len(value) <= _SHORT or len(encoded := value.encode()) <= LONGEST_KEY:
        return value
    return f"{encoded[: LONGEST_KEY - 100].decode(errors='ignore')}...{sha256(encoded).hexdigest()}"


def unnested(*types: str) -> str:
    """Rows as a table: ``unnest`` of arrays of these types, one parameter each, which :func:`columns` makes. Its last
    column counts the rows."""
    return f"unnest({', '.join(f'%b::{each}[]' for each in types)}) WITH ORDINALITY"


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The columns of ``rows``, of which there is at least one."""
    return [list(column) for column in zip(*rows, strict=True)]
