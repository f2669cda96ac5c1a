"""Limits the rate of equal log lines: a peer that can make us write a line could fill the disk with them."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.scopes.installed import KINDS

MOST = 100
"""The most lines of one kind within ``PERIOD``. The rest is counted."""
PERIOD = 10.0
"""Seconds."""
_WHOLE = (
    "protocols.http.access",
    "protocols.mail.imap.session",
    "protocols.sms.run",
    "gateway.delivery",
    "gateway.logs.arrivals",
)
"""Loggers that say what became of each request, mail, text and kept message: a peer that sends rubbish must not hide
that. Those whose name ends with ``.traffic`` do the same."""


@dataclass(slots=True)
class _Kind:
    began: float
    lines: int = 0
    left_out: int = 0


class RateLimit(logging.Filter):
    """Lets pass at most `MOST` lines of each kind within `PERIOD`, of the gateway's lines below ERROR. A kind is a
    logger's message before its arguments are put in. A record about a loss (``extra={"lost": True}``) always passes,
    and so do those of a logger whose level is debug.

    The last line that passes says that more are only counted, and the first one afterwards how many were left out:
    ``record.flood``.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._packages = _packages()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR or not self._is_limited(record.name) or hasattr(record, "lost"):
            return True
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):  # somebody wants to see everything
            return True
        now, key = self._clock(), (record.name, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None or now - kind.began >= PERIOD:
            if kind is not None and kind.left_out:
                record.flood = f"{kind.left_out} lines like it were left out"
            kind = self._kinds[key] = _Kind(now)
        kind.lines += 1
        if kind.lines > MOST:
            kind.left_out += 1
            return False
        if kind.lines == MOST:
            record.flood = f"more like it within {PERIOD:g} s are only counted"
        return True

    def _is_limited(self, name: str) -> bool:
        whole = name.startswith(_WHOLE) or name.endswith(".traffic")
        return name.partition(".")[0] in self._packages and not whole


def _packages() -> frozenset[str]:
    """Return the packages of this gateway, and of distributions that bring a scope type."""
    kinds = KINDS.made().values()  # ours are in the same packages, imported or not
    return frozenset({"gateway", "protocols", *(type(kind).__module__.partition(".")[0] for kind in kinds)})
