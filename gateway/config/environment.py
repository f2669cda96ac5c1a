"""Expands ``${NAME}``, ``${NAME:-default}`` and ``${file:/run/secrets/x}`` in a text; ``$${`` is a plain ``${``."""

import re
from collections.abc import Mapping
from pathlib import Path

_REFERENCE = re.compile(r"\$(?P<escaped>\$\{)|(?P<whole>\$\{(?P<inner>[^}]*)\}?)")
_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<or>:-(?P<default>.*))?", re.DOTALL)
_FILE_LIMIT = 65536
"""The longest file of a secret, in bytes: a key fits, and a log file that was named by mistake does not."""


class Unset(Exception):
    """A reference has no value. ``reference`` is its text; the message never contains a value."""

    def __init__(self, reference: str, message: str) -> None:
        super().__init__(message)
        self.reference = reference


def has_reference(text: str) -> bool:
    return "${" in text


def expand(text: str, environ: Mapping[str, str], folder: Path) -> tuple[str, dict[str, str]]:
    """Return ``text`` with every reference replaced, and reference -> value. Relative files are in ``folder``.

    Raises Unset.
    """
    values: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        values[match["whole"]] = _value(match["whole"], match["inner"], environ, folder)
        return values[match["whole"]]

    return _REFERENCE.sub(value, text), values


def _value(whole: str, inner: str, environ: Mapping[str, str], folder: Path) -> str:
    if not whole.endswith("}"):
        raise Unset(whole, "'${' has no '}'; write '$${' where a plain '${' is meant")
    if "${" in inner:
        raise Unset(whole, "one ${...} inside another is not understood")
    if inner.startswith("file:"):
        return _content(whole, folder / inner[5:])
    match = _NAME.fullmatch(inner)
    if match is None:
        raise Unset(whole, f"{whole} is not understood; write ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")
    value = environ.get(match["name"], "")
    if value or (match["or"] is None and match["name"] in environ):
        return value
    if match["or"] is None:
        raise Unset(whole, f"{whole} is not set")
    return match["default"]


def _content(whole: str, path: Path) -> str:
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unset(whole, f"{whole} cannot be read: {reason or 'it is not a short text file'}") from error


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_FILE_LIMIT + 1)
    if len(content) > _FILE_LIMIT:
        raise ValueError("too long")
    return content.decode().rstrip("\r\n")
