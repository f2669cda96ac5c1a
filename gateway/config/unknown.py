"""Explains why a protocol or a scope type is unknown."""

from collections.abc import Iterable

from gateway.config.diagnostics import nearest, suggestion
from gateway.scopes.installed import FAILURES


def unknown(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return the end of a message about ``word``: its package has failed or is missing, or the word is misspelt."""
    names = sorted(known)
    for failure in FAILURES:
        if failure.name == word:
            return f"; {failure}"
    hint = suggestion(word, names, otherwise=otherwise)
    return hint if nearest(word, names) else f"{hint}; if another package brings it, install that"
