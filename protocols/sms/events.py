"""What an application may send in an ``sms`` scope. Pure; see :mod:`protocols.events`."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from protocols.asgi import SMSAcceptEvent, SMSDeferEvent, SMSRejectEvent, SMSSendEvent
from protocols.errors import LocalProtocolError
from protocols.events import Event, one_line, retry_after, shown, utf8, wrong

_VERDICTS = {"sms.accept": "accepted", "sms.reject": "rejected", "sms.defer": "deferred"}
TEXT = {"open": {"sms.send": "open", **_VERDICTS}, "accepted": {"sms.send": "accepted"}}
"""The states of a run over a text."""
RECEIPT = {"receipt": _VERDICTS}
"""The states of a run over a delivery receipt: no provider reads a reply in its answer."""

LONGEST_ADDRESS = 255
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode's categories for controls, formatting marks, lone surrogates and spaces."""
_NO_CHARACTERS = "\ufffe\uffff"
"""XML forbids these, so they are left out of answers."""


def accept(event: Event) -> SMSAcceptEvent:
    return {"type": "sms.accept"}


def reject(event: Event) -> SMSRejectEvent:
    return {"type": "sms.reject", "reason": one_line(event, "reason")}


def defer(event: Event) -> SMSDeferEvent:
    wait = retry_after(event)
    return {"type": "sms.defer"} if wait is None else {"type": "sms.defer", "retry_after": wait}


def text_message(to: str, text: str, media: Sequence[str] = (), from_: str = "") -> SMSSendEvent:
    """Return the event for code that has no scope. It is not checked."""
    urls: Any = media if isinstance(media, str | bytes) else list(media)
    return {"type": "sms.send", "text": text, "media": urls, "to": to, "from": from_}


def send(event: Event) -> SMSSendEvent:
    """Return the event with ``to`` and ``from`` only if they are given."""
    text, media = utf8(event, "text").decode(), _media(event)
    if not media and not any(map(_is_visible, text)):
        raise LocalProtocolError("sms.send: text has no visible character, and there are no media; write one of them")
    clean: SMSSendEvent = {"type": "sms.send", "text": text, "media": media}
    if event.get("to") not in (None, ""):
        clean["to"] = _address(event, "to")
    if event.get("from") not in (None, ""):
        clean["from"] = _address(event, "from")
    return clean


CHECKS = {"sms.accept": accept, "sms.reject": reject, "sms.defer": defer, "sms.send": send}


def _media(event: Event) -> list[str]:
    given = event.get("media")
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        raise wrong(event, "media", "a list of URLs")
    for each in given:
        if not _is_url(each):
            raise LocalProtocolError(
                f"sms.send: media has {shown(each)}; write URLs, such as https://example.org/a.png"
            )
    return [str(url) for url in given]


def _is_url(url: object) -> bool:
    return isinstance(url, str) and url != "" and url.isprintable() and " " not in url


def _address(event: Event, key: str) -> str:
    given = event[key]
    if not isinstance(given, str) or not given.isprintable() or not given.strip() or len(given) > LONGEST_ADDRESS:
        raise wrong(event, key, "a number or a name")
    return str(given)


def _is_visible(character: str) -> bool:
    """Whether a person can see it. ``isprintable`` knows neither characters newer than this Python nor those of a phone
    maker."""
    return unicodedata.category(character) not in _UNSEEN and character not in _NO_CHARACTERS
