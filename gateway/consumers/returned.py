"""Warns of a method that returns a value, which is ignored. ``return "thanks"`` may mean ``self.reply("thanks")``."""

import logging
import re
from typing import Any

from protocols.asgi import Scope, describe
from protocols.events import a_type

logger = logging.getLogger(__name__)

_MESSAGE_ID = re.compile(r"<[^<>\s]+@[^<>\s]+>|")


def tell_returned(scope: Scope, method: str, result: Any, instead: str) -> None:
    """Log one line: ``method``, which has a place, has returned ``result``. ``instead`` is what it can call."""
    said = "%s: %s has returned %s, which nobody gets%s"
    words = f"; call {instead}" if instead else ""
    logger.warning(said, describe(scope), method, a_type(result), words, extra={"scope": scope})


def is_message_id(result: Any) -> bool:
    """Whether it is a Message-ID. The mail helpers return one, so ``return self.reply("thanks")`` is not a mistake."""
    return isinstance(result, str) and _MESSAGE_ID.fullmatch(result) is not None
