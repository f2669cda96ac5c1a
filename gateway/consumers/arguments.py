"""Checks the arguments of helpers where they are called: a mistake is a TypeError at the handler's line.

A message names the helper, the argument and its type, and says what to write. It never has the value, which may be
something that a person wrote.
"""

from collections.abc import Mapping
from typing import Any

from protocols.events import a_type

_NO_TEXT = (bytes, bytearray, memoryview, int, float, list, tuple, set, Mapping)
"""What cannot be meant as text. A lazy translation, which can, is none of these."""


def wrong(helper: str, argument: str, given: Any, wanted: str) -> TypeError:
    """``respond: body is a dict; write bytes or text``."""
    return TypeError(f"{helper}: {argument} is {a_type(given)}; write {wanted}")


def content(helper: str, argument: str, given: Any, otherwise: str = "") -> bytes:
    """Return bytes; text becomes UTF-8. ``otherwise`` says what else to call for other values."""
    if type(given) is bytes:
        return given
    if isinstance(given, str):
        return given.encode()
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if is_lazy(given):
        return str(given).encode()
    raise wrong(helper, argument, given, f"bytes or text{otherwise}")


def is_lazy(given: Any) -> bool:
    """Whether ``given`` is a lazy translation of Django (``gettext_lazy``), which may be used where text is."""
    return type(given).__module__ == "django.utils.functional"


def text(helper: str, argument: str, given: Any, wanted: str = "text") -> Any:
    """Return ``given`` unless it cannot be meant as text, as a function that was not called cannot."""
    if type(given) is not str and (isinstance(given, _NO_TEXT) or not hasattr(given, "encode")):
        raise wrong(helper, argument, given, wanted)
    return given


def name(helper: str, argument: str, given: Any, wanted: str) -> str:
    """Return a str."""
    if not isinstance(given, str):
        raise wrong(helper, argument, given, wanted)
    return given


def integer(helper: str, argument: str, given: Any, wanted: str) -> int:
    """Return an integer, which a bool is not."""
    if type(given) is int or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise wrong(helper, argument, given, wanted)


def seconds(helper: str, argument: str, given: Any) -> float | None:
    """Return a number, or None."""
    if given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
        return given
    raise wrong(helper, argument, given, "a number of seconds")


def dictionary(helper: str, argument: str, given: Any, wanted: str) -> Mapping[str, Any]:
    """Return a dict."""
    if not isinstance(given, Mapping):
        raise wrong(helper, argument, given, wanted)
    return given
