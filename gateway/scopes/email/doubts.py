r"""Finds what a regular expression for addresses takes and probably should not, and how to write it instead.

``@support.example.org`` takes ``a@supportXexample.org`` and ``a@support.example.org.evil.example``, too; it should be
``@support\.example\.org$``. Only the text is looked at: an expression with flags or assertions is left alone.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P<\w+>|[:=!a-zA-Z<-]*))?|.", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z0-9]")
_GROUP = re.compile(r"\((\?:|\?P<\w+>)?")
_LONGEST = 1000
"""Characters of an expression that is looked at."""
_QUANTIFIERS = ("*", "+", "?", "{")


class Doubt(NamedTuple):
    """What is doubtful about an expression."""

    reasons: tuple[str, ...]
    instead: str
    """The expression as it was probably meant."""

    def __str__(self) -> str:
        return f"{' and '.join(self.reasons)}; write '{self.instead}'"


def doubt_of(expression: str) -> Doubt | None:
    """Return what is doubtful about an expression; None if nothing is."""
    parts: Sequence[str] = _PART.findall(expression[:_LONGEST])
    if (
        len(expression) > _LONGEST
        or "@" not in parts
        or any(part[0] == "(" and not _GROUP.fullmatch(part) for part in parts)
    ):
        return None
    dotted = _dotted(parts)
    anchored = not _has_alternatives(parts)
    begins = anchored and (_LABEL.fullmatch(parts[0]) or parts[0][0] == "(") and parts[1] not in _QUANTIFIERS
    ends = anchored and (_LABEL.fullmatch(parts[-1]) or parts[-1] == ")")
    reasons = (
        *(["a dot stands for any character"] if dotted != parts else []),
        *(["it takes longer names, too, such as xhelp@ for help@"] if begins else []),
        *(["it takes longer domains, too, such as example.org.evil.example for example.org"] if ends else []),
    )
    return Doubt(reasons, "".join([*"^"[: bool(begins)], *dotted, *"$"[: bool(ends)]])) if reasons else None


def _dotted(parts: Sequence[str]) -> Sequence[str]:
    """Escape the dots between the labels of a domain."""
    at = parts.index("@")
    around = zip(parts, ["", *parts], [*parts[1:], ""], [*parts[2:], "", ""], strict=False)
    return [
        r"\." if part == "." and place > at and _are_labels(before, after, then) else part
        for place, (part, before, after, then) in enumerate(around)
    ]


def _are_labels(before: str, after: str, then: str) -> bool:
    begins = _LABEL.fullmatch(after) or _GROUP.fullmatch(after)
    return bool((_LABEL.fullmatch(before) or before == ")") and begins and then not in _QUANTIFIERS)


def _has_alternatives(parts: Sequence[str]) -> bool:
    """Whether it is several expressions, beside each other and in no group."""
    depths = accumulate((part[0] == "(") - (part == ")") for part in parts)
    return any(part == "|" and depth == 0 for part, depth in zip(parts, depths, strict=True))
