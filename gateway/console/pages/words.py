"""Figures and times as a person reads them."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "-"
LONGEST = 300
"""Characters of a cell; strangers write topics of 64 KiB."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_PERIODS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_LATEST = datetime.max.replace(tzinfo=UTC).timestamp() - 1


def time_of(seconds: float | None) -> str:
    """Return ``2026-05-04 09:18:45 UTC`` for seconds since 1970."""
    if seconds is None or not 0 < seconds <= _LATEST:
        return NOTHING
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def period(seconds: float | None) -> str:
    """Return ``3 d``, ``12 min`` or ``0.25 s``: the largest unit that is not zero."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds > 0 else "0 s"
    if seconds < 10:
        return f"{seconds:.2g} s"
    size, unit = next(each for each in _PERIODS if seconds >= each[0])
    return f"{int(seconds // size)} {unit}"


def size_of(count: float | None) -> str:
    """Return ``63 MiB`` for a number of bytes."""
    if count is None:
        return NOTHING
    unit = min(int(math.log(count, 1024)), len(_UNITS) - 1) if count >= 1 else 0
    return f"{count / 1024**unit:.3g} {_UNITS[unit]}"


def rate_of(rate: float | None) -> str:
    """Return ``2.5/s``."""
    return NOTHING if rate is None else f"{rate:.3g}/s"


def share_of(share: float | None) -> str:
    """Return ``2.5 %`` for 0.025."""
    return NOTHING if share is None else f"{share * 100:.3g} %"


def shown(value: object, form: str = "") -> str:
    """Return what a cell of a table shows; ``form`` is a key of :data:`FORMS`."""
    if value is None or value == "":
        return NOTHING
    return FORMS[form](value)


def label(name: str) -> str:
    """Return what the key ``name`` of a JSON object is called on a page."""
    return _LABELS.get(name) or name.replace("_", " ").capitalize()


def form_of(name: str, value: object) -> str:
    """Return the form in which the ``value`` of a key is shown."""
    return "yes_no" if isinstance(value, bool) else _FORM_OF.get(name, "")


def cut(text: str) -> str:
    """Return the beginning of what is long."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


FORMS: Mapping[str, Callable[[Any], str]] = {
    "": str,
    "time": time_of,
    "size": size_of,
    "period": period,
    "rate": rate_of,
    "share": share_of,
    "yes_no": lambda value: "yes" if value else "no",
}
_FORM_OF: Mapping[str, str] = {
    **dict.fromkeys(("received", "since", "due", "expires", "last_packet", "retained", "at", "time"), "time"),
    **dict.fromkeys(("size", "queued_bytes", "bytes_received", "bytes_sent"), "size"),
    **dict.fromkeys(("seconds", "keepalive", "expiry"), "period"),
}
_LABELS: Mapping[str, str] = {
    "id": "ID",
    "client_id": "Client ID",
    "tls": "TLS",
    "qos": "QoS",
    "who": "From",
    "what": "To, or for what",
    "seconds": "Took",
    "inflight": "In flight",
}
