"""The retained messages of a broker: within their limit, until they expire, and over a restart. Pure."""

import logging
from collections.abc import Callable, Hashable, Iterator

from protocols.mqtt.broker import record
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.retained import Retained
from protocols.mqtt.broker.timers import Timers

logger = logging.getLogger(__name__)

_OWN = "$SYS/"
"""What the topics of the server's statistics begin with."""


class RetainedMessages:
    """``limit`` bounds the sum of their sizes. ``journal``: where they are kept, if they are."""

    def __init__(self, limit: int, journal: Journal | None, timers: Timers, clock: Callable[[], float]) -> None:
        self.refused = 0
        """Messages that were not retained because there was no room."""
        self._messages: Retained[ApplicationMessage] = Retained(limit)
        self._journal = journal
        self._timers = timers
        self._clock = clock

    def __len__(self) -> int:
        """Count those of clients, without the server's own."""
        return len(self._messages) - sum(each is not None for each in self.match(f"{_OWN}#"))

    def records(self) -> Iterator[tuple[str, bytes]]:
        """Yield a record of each message."""
        for message in self._messages:
            if _outlives(message.topic):
                yield record.retained_key(message.topic), record.retained(message)

    def follow(self, limit: int) -> None:
        """Keep messages within ``limit`` from now on; those that are kept already stay."""
        self._messages.limit = limit

    def match(self, topic_filter: str) -> Iterator[ApplicationMessage | None]:
        """Yield those of the topics that a filter matches, as :meth:`Retained.match` does; some may have expired."""
        return self._messages.match(topic_filter)

    def retain(self, message: ApplicationMessage) -> None:
        """Keep ``message`` in place of its topic's last one. One that is empty removes that.

        MQTT-3.3.1-6: "If the Payload contains zero bytes it is processed normally by the Server but any retained
        message with the same topic name MUST be removed".
        """
        if not message.payload:
            self.remove(message.topic)
        elif self._messages.set(message.topic, message, message.size):
            message.retained_at = self._clock()
            self._keep(message.topic, record.retained(message))
            self._expire(message)
        else:
            self._refuse()

    def restore(self, topic: str, message: ApplicationMessage) -> None:
        """Take over what a journal had."""
        if self._messages.set(topic, message, message.size):
            self._expire(message)
        else:  # the limit is a lower one now
            self._keep(topic, None)

    def _refuse(self) -> None:
        self.refused += 1
        if not self.refused & (self.refused - 1):  # the first, the second, the fourth ...: a line each
            said = "retained messages are full (max_retained): %d not retained"
            logger.warning(said, self.refused, extra={"lost": True})

    def remove(self, topic: str) -> None:
        """Forget the message of a topic. Its subscribers are told nothing."""
        self._timers.cancel(_key(topic))
        if self._messages.remove(topic):
            self._keep(topic, None)

    def _keep(self, topic: str, value: bytes | None) -> None:
        if self._journal is not None and _outlives(topic):
            self._journal.put(record.retained_key(topic), value)

    def _expire(self, message: ApplicationMessage) -> None:
        key = _key(message.topic)
        if message.expires is None:
            self._timers.cancel(key)
        else:
            self._timers.at(message.expires, key, lambda: self.remove(message.topic))


def _outlives(topic: str) -> bool:
    """Whether its message may outlive the process: the numbers of $SYS are this process's."""
    return not topic.startswith(_OWN)


def _key(topic: str) -> Hashable:
    return "retained", topic
