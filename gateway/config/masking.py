"""Finds the values that are secrets, and masks them in messages."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from gateway.secret_names import WITHIN

_SECRET = re.compile(rf"pass|auth(?!or|entication)|users|api.?key|signing.?key|{WITHIN}", re.IGNORECASE)
_SECRETS = ("password", "secret", "token", "auth_token", "api_key", "credentials")
_LINE = re.compile(rf"((?:{_SECRET.pattern})[\w-]*[\"']?\s*:\s*)\S.*", re.IGNORECASE)
_CHOICES = frozenset(("off", "optional", "required"))
"""Values of settings that choose one of a few, under keys such as ``auth``."""
_NAMED_ONLY = re.compile(r"\$\{(\w+|file:[^}]*)\}")


@lru_cache(maxsize=1024)  # a long file has few keys, many times
def holds_secret(key: str) -> bool:
    """Return whether the value of ``key`` is a secret; the key may be misspelt."""
    return speaks_of_secret(key) or bool(difflib.get_close_matches(key.lower(), _SECRETS, n=1, cutoff=0.75))


def hides(key: str, value: Any) -> bool:
    """Return whether ``value``, of a checked setting, is or holds text that is a secret because of its key. Numbers,
    truth values, choices and names of files are none."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return any(hides(key, each) for each in value)
    is_text = isinstance(value, str) and bool(value) and value not in _CHOICES
    return is_text and not key.endswith("_file") and holds_secret(key)


def speaks_of_secret(text: str) -> bool:
    return _SECRET.search(text) is not None


def names_only(value: str) -> bool:
    """Return whether ``value`` refers to a secret and does not contain it."""
    return _NAMED_ONLY.fullmatch(value) is not None


def hide_by_key(line: str) -> str:
    """Return a line of YAML with stars in place of its value, if its key says that the value is a secret."""
    return _LINE.sub(r"\1***", line)
