"""The log records of attempts that did not succeed."""

import logging
from typing import Any

from gateway.delivery.attempt import Outcome
from gateway.delivery.disposition import Disposition, in_words
from gateway.delivery.policy import Policy
from protocols.asgi import describe

logger = logging.getLogger(__name__)


def report(
    scope: Any, outcome: Outcome, policy: Policy, disposition: Disposition, attempt: int, *, stored: bool
) -> None:
    """Log an attempt that did not succeed in one record, with the traceback if it crashed."""
    words = in_words(policy, disposition, attempt, stored=stored)
    if outcome.error is None:
        logger.info("%s: deferred (%s)", describe(scope), words)
    else:
        extra = {"scope": scope, "note": words, "kept": stored or disposition.state == "dead"}
        logger.error("%s", describe(scope), exc_info=outcome.error, extra=extra)


def warn_late(scope: Any, error: TimeoutError, policy: Policy, attempt: int) -> None:
    """Log that a handler is late and goes on, because it is on a thread. Its result is reported once it is known."""
    of = f" of {policy.attempts}" if policy.attempts else ""
    said = "%s: %s (attempt %d%s); its thread goes on, and the result is kept"
    logger.warning(said, describe(scope), error, attempt, of, extra={"scope": scope})
