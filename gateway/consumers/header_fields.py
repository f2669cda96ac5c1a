"""Header fields of an HTTP response as handlers write them, as ASGI has them: pairs of bytes."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.consumers.arguments import wrong

Field = str | bytes
Headers = Mapping[str, Field | int] | Mapping[bytes, Field | int] | Iterable[tuple[Field, Field | int]]
"""A dict, or pairs; each name and value is text or bytes."""


def header_fields(helper: str, given: Any) -> list[tuple[bytes, bytes]]:
    """Return pairs of bytes. Raises TypeError, at the line that calls ``helper``."""
    if type(given) is not tuple and type(given) is not list:
        given = _listed(helper, given)
    fields: list[tuple[bytes, bytes]] = []
    for pair in given:
        if type(pair) is not tuple or len(pair) != 2:
            pair = _pair(helper, pair)
        name, value = pair
        fields.append(pair if type(name) is type(value) is bytes else _field(helper, name, value))
    return fields


def _field(helper: str, name: Any, value: Any) -> tuple[bytes, bytes]:
    encoded = _encoded(helper, "a name in headers", name)
    return encoded, _encoded(helper, f"the value of {encoded.decode('latin-1')!r} in headers", value)


def _listed(helper: str, given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        return list(given.items())
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise wrong(helper, "headers", given, 'a dict, such as {"content-type": "text/csv"}, or a list of pairs')
    return list(given)


def _pair(helper: str, given: Any) -> tuple[Any, Any]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise wrong(helper, "an item of headers", given, 'a pair, such as ("content-type", "text/csv")')
    return given[0], given[1]


def _encoded(helper: str, argument: str, given: Any) -> bytes:
    """Encode one half of a field (RFC 9110, 5.5). Raises ValueError for characters that HTTP cannot send."""
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given).encode()
    if isinstance(given, bytes | bytearray):
        return bytes(given)
    if not isinstance(given, str):
        raise wrong(helper, argument, given, "text or bytes")
    try:
        return given.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"{helper}: {argument} has characters beyond Latin-1, which HTTP cannot send") from error
