"""Tells of channel layer messages that a member of the group has no method for."""

import logging
import time
from collections.abc import Iterable
from difflib import get_close_matches
from math import inf
from typing import Any

from gateway.layers import origins
from protocols.asgi import Scope, describe
from protocols.events import shown

logger = logging.getLogger(__name__)

PERIOD = 10.0
"""Seconds within which a class is told of once for each type: a group may have thousands of members."""
MOST = 1000
"""(class, type) pairs that are remembered."""
_told: dict[tuple[type, str], float] = {}


def tell_unhandled(consumer: type, handled: Iterable[str], scope: Scope, message: Any) -> None:
    """Log one line with the place that has sent ``message``, as far as this process knows it."""
    kind = message.get("type")
    if not _is_due(consumer, shown(kind)):
        return
    place = origins.origin(kind)
    near = get_close_matches(str(kind), handled, 1)
    words = (
        describe(scope),
        consumer.__name__,
        shown(kind),
        f", sent at {place}" if place else "",
        f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(repr, handled)) or 'none'}.",
    )
    said = "%s: %s has no @layer_event method for %s%s%s The message is dropped, the connection goes on"
    logger.error(said, *words, extra={"scope": scope})


def _is_due(consumer: type, kind: str) -> bool:
    now, key = time.monotonic(), (consumer, kind)
    if now - _told.get(key, -inf) < PERIOD:
        return False
    if len(_told) >= MOST:
        _told.clear()
    _told[key] = now
    return True
