"""A line in the log for each change."""

import logging
from collections.abc import Mapping
from typing import Any

from gateway.console.operation import Operation

logger = logging.getLogger(__name__)

LONGEST = 500
"""Characters of the parameters."""


def record(operation: Operation, by: str, arguments: Mapping[str, Any]) -> None:
    """Log a call that changes something: ``dead_drop by ann from 192.0.2.7: ids=['7f3a']``."""
    if operation.audited:
        given = " ".join(f"{name}={value!r}" for name, value in arguments.items())
        logger.info("%s by %s: %s", operation.name, by, given[:LONGEST] or "no parameters")
