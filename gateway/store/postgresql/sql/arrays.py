"""Arrays as parameters, in PostgreSQL's binary form: one statement does many rows. Write ``%b`` for them.

psycopg's own form of a list takes several times as long, and its type depends on the values.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = struct.Struct("!iiIii").pack
"""Dimensions, whether there are NULLs, the elements' type, their number, the index of the first."""
_EMPTY = struct.Struct("!iiI").pack
_LENGTH = struct.Struct("!i").pack
_INTEGER = struct.Struct("!iq").pack
_FLOAT = struct.Struct("!id").pack


class _Array:
    """An array. Each kind has a class of its own, by which psycopg finds its type."""

    __slots__ = ("data",)
    element: ClassVar[int]
    oid: ClassVar[int]

    def __init__(self, number: int, elements: Iterable[bytes]) -> None:
        head = _HEAD(1, 0, self.element, number, 1) if number else _EMPTY(0, 0, self.element)
        self.data = head + b"".join(elements)


class _Texts(_Array):
    element, oid = 25, 1009


class _Blobs(_Array):
    element, oid = 17, 1001


class _Integers(_Array):
    element, oid = 20, 1016


class _Floats(_Array):
    element, oid = 701, 1022


def texts(values: Sequence[str]) -> _Array:
    """text[]; no value may contain NUL or a surrogate."""
    return _Texts(len(values), _sized(value.encode() for value in values))


def blobs(values: Sequence[bytes]) -> _Array:
    """bytea[]"""
    return _Blobs(len(values), _sized(values))


def integers(values: Sequence[int]) -> _Array:
    """bigint[]"""
    return _Integers(len(values), [_INTEGER(8, value) for value in values])


def floats(values: Sequence[float]) -> _Array:
    """double precision[]"""
    return _Floats(len(values), [_FLOAT(8, value) for value in values])


def _sized(values: Iterable[bytes]) -> Iterator[bytes]:
    for value in values:
        yield _LENGTH(len(value))
        yield value


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: _Array) -> bytes:
        return obj.data


_DUMPERS = {
    kind: type(f"{kind.__name__}Dumper", (_ArrayDumper,), {"oid": kind.oid})
    for kind in (_Texts, _Blobs, _Integers, _Floats)
}


def register(connection: "psycopg.Connection[Any]") -> None:
    """Let ``connection`` take arrays."""
    for kind, dumper in _DUMPERS.items():
        connection.adapters.register_dumper(kind, dumper)
