"""A message that is delivered again while it is handled: its provider has waited long enough, or asks twice at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from protocols.sms.provider import DeliveryReceipt, Reply, TextMessage

logger = logging.getLogger(__name__)

Result = Sequence[Reply] | None
"""The replies to a message; None if the provider has to deliver it again."""


class Repetitions:
    """The messages of one webhook that are handled now. A route with a policy recognizes later repetitions, too.

    ``answers_again``: replies are a part of the answer, so the answer to a repetition has them, too. Otherwise they
    leave by themselves, and do so once.
    """

    def __init__(self, name: str, *, answers_again: bool) -> None:
        self._name = name
        self._answers_again = answers_again
        self._running: dict[tuple[str, ...], asyncio.Future[Result]] = {}

    async def once(self, item: TextMessage | DeliveryReceipt, run: Callable[[], Awaitable[Result]]) -> Result:
        """Return what ``run`` returns, or the result of the run over the same message that has not ended yet."""
        key = _key(item)
        if (running := self._running.get(key)) is not None:
            logger.info("sms %s: %s is delivered again while it is handled", self._name, ascii(item.message_id[:100]))
            replies = await asyncio.shield(running)
            return replies if self._answers_again or replies is None else []
        ended = self._running[key] = asyncio.get_running_loop().create_future()
        result: Result = None  # also if the run is cancelled: the provider asks again
        try:
            result = await run()
            return result
        finally:
            del self._running[key]
            ended.set_result(result)


def _key(item: TextMessage | DeliveryReceipt) -> tuple[str, ...]:
    """A program may count its ids from one again: what the message says has to be the same, too."""
    said = ("text", item.text) if isinstance(item, TextMessage) else ("status", item.status)
    return (item.sender, item.recipient, item.message_id, *said)
