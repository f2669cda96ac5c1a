"""A line in the log for each change."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from gateway.console.operation import Operation
from gateway.control.caller import caller

logger = logging.getLogger(__name__)

LONGEST = 500
"""Characters of the parameters."""
_LOGGED = 1000
"""Characters of what was chosen: an operator may name a thousand clients."""


def record(operation: Operation, by: str, arguments: Mapping[str, Any]) -> None:
    """Log a call that changes something: ``log by ann from 192.0.2.7: level='debug'``."""
    if operation.audited:
        given = " ".join(f"{name}={value!r}" for name, value in arguments.items())
        logger.info("%s by %s: %s", operation.name, by, given[:LONGEST] or "no parameters")


def record_change(what: str, changed: int, chosen: Mapping[str, Any]) -> None:
    """Log what an operation has done, once it has ended: ``dead_drop by ann from 192.0.2.7: 3, {"error": "order"}``."""
    logger.info("%s by %s: %d, %s", what, caller.get(), changed, json.dumps(chosen)[:_LOGGED])
