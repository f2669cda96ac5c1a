"""Reads the verdict of a spam filter that the mail passed on its way. Anyone can forge these fields: trust them only if
your own server removes those that it did not write."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from protocols.mail.message.fields import Fields

_LONGEST = 2000
_NUMBER = r"(-?[0-9]{1,4}(?:\.[0-9]{1,6})?)"
_SPAMASSASSIN = re.compile(
    rf"\s*(yes|no)\b(?:,?\s*(?:score|hits)={_NUMBER})?(?:\s*(?:required|tagged_above)={_NUMBER})?", re.IGNORECASE
)
_RSPAMD = re.compile(rf"(?:default|[\w.-]{{1,60}}):\s*(true|false)\s*\[{_NUMBER}\s*/\s*{_NUMBER}\]", re.IGNORECASE)
_SCL = re.compile(r"(?:^|;)\s*SCL:(-?[0-9])\s*(?:;|$)", re.IGNORECASE)
_FLOAT = re.compile(_NUMBER)
_MICROSOFT_SPAM = 5
"""Microsoft's spam confidence level is from -1 to 9; from 5 on a mail goes to the junk folder."""


@dataclass(frozen=True)
class Spam:
    """What a spam filter has said."""

    is_spam: bool
    score: float | None
    """The filter's own measure; None if it gave none."""
    threshold: float | None
    """The score from which on the filter calls a mail spam; None if it did not say so."""
    source: str
    """``spamassassin``, ``rspamd`` or ``microsoft``."""


def spam_verdict(fields: Fields) -> Spam | None:
    """Return the verdict; None if no known filter left one."""
    return next((verdict for read in _FILTERS if (verdict := read(fields)) is not None), None)


def _spamassassin(fields: Fields) -> Spam | None:
    found = _SPAMASSASSIN.match(fields.get("x-spam-status", "")[:_LONGEST])
    flag = fields.word("x-spam-flag")
    if found is None and flag not in ("yes", "no"):
        return None
    score = found[2] if found and found[2] else _first_number(fields.get("x-spam-score", ""))
    said = found[1].lower() if found else flag
    return Spam(said == "yes", _float(score), _float(found[3] if found else None), "spamassassin")


def _rspamd(fields: Fields) -> Spam | None:
    found = _RSPAMD.search(fields.get("x-spamd-result", "")[:_LONGEST])
    if found:
        is_spam = found[1].lower() == "true" or fields.word("x-spam") == "yes"
        return Spam(is_spam, float(found[2]), float(found[3]), "rspamd")
    action = fields.get("x-rspamd-action", "").strip().lower()
    score = _first_number(fields.get("x-rspamd-score", ""))
    if not action and score is None and fields.word("x-spam") != "yes":
        return None
    spam = fields.word("x-spam") == "yes" or action in ("add header", "rewrite subject", "reject", "soft reject")
    return Spam(spam, _float(score), None, "rspamd")


def _microsoft(fields: Fields) -> Spam | None:
    level = _first_number(fields.get("x-ms-exchange-organization-scl", ""))
    if level is None:
        found = _SCL.search(fields.get("x-forefront-antispam-report", "")[:_LONGEST])
        level = found[1] if found else None
    return Spam(float(level) >= _MICROSOFT_SPAM, float(level), float(_MICROSOFT_SPAM), "microsoft") if level else None


_FILTERS: tuple[Callable[[Fields], Spam | None], ...] = (_spamassassin, _rspamd, _microsoft)


def _first_number(value: str) -> str | None:
    found = _FLOAT.match(value.strip()[:20])
    return found[1] if found else None


def _float(number: str | None) -> float | None:
    return None if number is None else float(number)
