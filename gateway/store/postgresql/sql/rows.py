"""Rows of PostgreSQL. :mod:`gateway.store.rows` has what all engines share."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from gateway.store.rows import text

Row = TypeVar("Row")

LONGEST_KEY = 2000
"""Bytes of a text in an index, which takes a third of a page (2,700 bytes) at most."""
_SHORT = LONGEST_KEY // 4
"""Characters that have no more bytes than that."""


def indexed(value: str) -> str:
    """``value`` as an index can hold it. A longer one, such as a topic of 64 KiB, is cut and gets a digest
    of its whole text, so that it still identifies the same messages. An indexed value is returned unchanged."""
    value = text(value)
    if len(value) <= _SHORT or len(encoded := value.encode()) <= LONGEST_KEY:
        return value
    return f"{encoded[: LONGEST_KEY - 100].decode(errors='ignore')}...{sha256(encoded).hexdigest()}"


STATEMENT_BYTES = 64 * 1024 * 1024
"""Content in one statement, or a single row: PostgreSQL takes no array of a gigabyte."""


def portions(rows: Sequence[Row], size: Callable[[Row], int]) -> Iterator[Sequence[Row]]:
    """Divide rows among statements, in their order. ``size``: the bytes of a row's content."""
    begin, total = 0, 0
    for number, row in enumerate(rows):
        total += size(row)
        if total > STATEMENT_BYTES and number > begin:
            yield rows[begin:number]
            begin, total = number, size(row)
    if rows:
        yield rows[begin:]


def unnested(*types: str) -> str:
    """Rows as a table: ``unnest`` of arrays of these types, one parameter each, which :func:`columns` makes. Its last
    column counts the rows."""
    return f"unnest({', '.join(f'%b::{each}[]' for each in types)}) WITH ORDINALITY"


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The columns of ``rows``. There must be at least one row."""
    return [list(column) for column in zip(*rows, strict=True)]
