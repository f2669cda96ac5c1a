"""Takes the content out of opaque S/MIME signed data (RFC 8551, 3.5.2; RFC 5652), without verifying it. Pure.

The structure is ``{ signedData, [0] { version, digestAlgorithms, { type, [0] content }, ... } }`` in BER, in which
lengths may be indefinite and octet strings may be in pieces.
"""

from collections.abc import Iterator
from typing import NamedTuple

_OID, _SEQUENCE, _CONTEXT_0 = 0x06, 0x30, 0xA0
_CONSTRUCTED = 0x20
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_DEPTH = 10
"""Octet strings inside octet strings that are opened. Signers write two."""


class _Element(NamedTuple):
    tag: int
    start: int
    end: int
    """The end of the content; with an indefinite length, the end of what is around it."""
    indefinite: bool


def signed_content(data: bytes) -> bytes | None:
    """Return the signed content, which is a MIME entity; None if ``data`` is no signed data, or holds no content."""
    try:
        return _signed_content(data)
    except (IndexError, ValueError):
        return None


def _signed_content(data: bytes) -> bytes | None:
    kind, content = _two(data, _element(data, 0, len(data)))
    if data[kind.start : kind.end] != _SIGNED_DATA:
        return None
    signed = _element(data, content.start, content.end)
    children = _children(data, signed)
    for child in children:
        if child.tag == _SEQUENCE:  # after the version and the SET of algorithms
            _, wrapped = _two(data, child)
            octets = _element(data, wrapped.start, wrapped.end)
            return b"".join(_octets(data, octets, _DEPTH))
    return None


def _two(data: bytes, element: _Element) -> tuple[_Element, _Element]:
    first, second, *_ = (*_children(data, element, at_most=2),)
    if first.tag != _OID or second.tag != _CONTEXT_0:
        raise ValueError("not a type with its content")
    return first, second


def _element(data: bytes, place: int, end: int) -> _Element:
    """Return the element at ``place``. Raises ValueError or IndexError if it is cut or malformed."""
    tag, length = data[place], data[place + 1]
    start = place + 2
    if length == 0x80:
        return _Element(tag, start, end, indefinite=True)
    if length > 0x80:
        count = length & 0x7F
        if count > 8:
            raise ValueError("a length of more than 64 bits")
        length = int.from_bytes(data[start : start + count], "big")
        start += count
    return _Element(tag, start, min(start + length, end), indefinite=False)


def _children(data: bytes, element: _Element, at_most: int = 1 << 30) -> Iterator[_Element]:
    place, count = element.start, 0
    while place < element.end and count < at_most and data[place : place + 2] != b"\0\0":
        child = _element(data, place, element.end)
        yield child
        count += 1
        place = _after(data, child) if count < at_most else element.end


def _after(data: bytes, element: _Element) -> int:
    """Return the offset behind an element. One of indefinite length ends where the elements in it do."""
    if not element.indefinite:
        return element.end
    place, open_ones = element.start, 1
    while open_ones and place < element.end:
        if data[place : place + 2] == b"\0\0":
            open_ones -= 1
            place += 2
            continue
        child = _element(data, place, element.end)
        open_ones += child.indefinite
        place = child.start if child.indefinite else child.end
    return place


def _octets(data: bytes, element: _Element, depth: int) -> Iterator[bytes]:
    if not element.tag & _CONSTRUCTED:
        yield data[element.start : element.end]
    elif depth:
        for child in _children(data, element):
            yield from _octets(data, child, depth - 1)
