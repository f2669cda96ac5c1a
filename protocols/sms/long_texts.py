"""Puts long texts together, of providers that deliver their parts by themselves.

No part is acknowledged before its text is handled: each request waits for the others. So nothing is lost with this
process, and nothing is stored. If the rest does not come in time, a provider that repeats is asked to deliver again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from protocols.sms.provider import Part, Reply, TextMessage

logger = logging.getLogger(__name__)

KEEP = 600.0
"""Seconds that a text waits for its parts. What is there by then is delivered with the next part that comes."""
MOST_TEXTS = 1000
"""Most incomplete texts that are kept. One more displaces the oldest."""
MOST_CHARACTERS = 4 * 1024 * 1024
"""Characters of all parts that are kept."""

Result = Sequence[Reply] | None
"""The replies to a text; None if the provider has to deliver it again."""
Run = Callable[[TextMessage], Awaitable[Result]]
Key = tuple[str, str, str, int]


class LongText:
    """The parts of one text that have come, and what became of it."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.parts: dict[int, TextMessage] = {}
        self.size = 0
        self.last = 0
        """The number of the part whose request has the replies: the one that the text was handled with."""
        self.open()

    def open(self) -> None:
        """Take parts, until it is handled."""
        self.closed = False
        self.result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    @property
    def has_failed(self) -> bool:
        return self.result.done() and self.result.result() is None

    def put(self, part: Part, message: TextMessage) -> None:
        if part.number not in self.parts:
            self.parts[part.number] = message
            self.size += _size(message)

    def is_other(self, part: Part, message: TextMessage) -> bool:
        """Whether ``message`` is of another text: references begin again after 256 texts. One that comes too late is
        a text of its own."""
        known = self.parts.get(part.number)
        if known is None:
            return self.closed and not self.has_failed
        return known.message_id != message.message_id

    def joined(self, total: int) -> TextMessage:
        """The text of the parts that are there, in their order; its id is the first one's."""
        parts = [self.parts[number] for number in sorted(self.parts)]
        return replace(
            parts[0],
            text="".join(part.text for part in parts),
            media=[media for part in parts for media in part.media],
            segments=sum(part.segments for part in parts),
            part=None,
            complete=len(parts) == total,
        )


class LongTexts:
    """The long texts of one webhook. ``patience`` is the number of seconds after which an incomplete text is delivered
    as it is; None: its parts wait for as long as their requests do, and come again. ``clock`` gives seconds."""

    def __init__(self, name: str, patience: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._patience = patience
        self._clock = clock
        self._texts: dict[Key, LongText] = {}
        self._size = 0

    async def handle(self, message: TextMessage, part: Part, run: Run) -> Result:
        """Return the result of the text that ``message`` is a part of, once that is there and ``run`` has ended. The
        replies are in the result of one part; the others have none."""
        text = self._put(message, part)
        result = text.result
        if not (text.closed or self._is_ready(text, part.total)):
            await asyncio.wait([result], timeout=self._patience)
        if text.closed or result.done():
            replies = await asyncio.shield(result)
            return replies if replies is None or part.number == text.last else []
        text.last = part.number
        return await self._run(text, part.total, run)

    def _is_ready(self, text: LongText, total: int) -> bool:
        return len(text.parts) == total or self._clock() - text.began > KEEP

    async def _run(self, text: LongText, total: int, run: Run) -> Result:
        text.closed, result = True, None
        if len(text.parts) < total:
            logger.warning("sms %s: delivered with %d of %d parts", self._name, len(text.parts), total)
        try:
            result = await run(text.joined(total))
            return result
        finally:
            text.result.set_result(result)

    def _put(self, message: TextMessage, part: Part) -> LongText:
        key = (message.sender, message.recipient, part.reference, part.total)
        text = self._texts.get(key)
        if text is None or text.is_other(part, message):
            self._drop(key)
            text = self._texts[key] = LongText(self._clock())
        elif text.has_failed:
            text.open()
        before = text.size
        text.put(part, message)
        self._size += text.size - before
        self._make_room(key)
        return text

    def _make_room(self, key: Key) -> None:
        """Forget texts that have waited too long, and the oldest of too many. Their provider still has their parts."""
        while self._texts:
            oldest = next(iter(self._texts))
            if oldest == key or not (self._is_full() or self._clock() - self._texts[oldest].began > 2 * KEEP):
                return
            self._drop(oldest)

    def _is_full(self) -> bool:
        return len(self._texts) > MOST_TEXTS or self._size > MOST_CHARACTERS

    def _drop(self, key: Key) -> None:
        if (text := self._texts.pop(key, None)) is None:
            return
        self._size -= text.size
        if not (text.result.done() or text.closed):
            logger.info("sms %s: a text of which %d parts came is forgotten", self._name, len(text.parts))
            text.result.set_result(None)


def _size(message: TextMessage) -> int:
    return len(message.text) + sum(len(name) + len(value) for name, value in message.fields.items())
