"""A message to more subscribers than one turn of the event loop has time for. Pure."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from protocols.mqtt.broker.backlog import Backlog
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.message import ApplicationMessage

logger = logging.getLogger(__name__)

AT_ONCE = 1024
"""Deliveries of one message without a pause: a millisecond or three. With fewer, subscribers would cost more writes."""


class Target(Protocol):
    """A session, or a group's share."""

    def deliver(self, message: ApplicationMessage, grant: Grant, origin: object = None) -> None: ...


class FanOut:
    """One message, on its way to those who were subscribed when its turn came."""

    __slots__ = ("_done", "_then", "message", "origin", "targets")

    def __init__(self, message: ApplicationMessage, origin: object) -> None:
        self.message = message
        self.origin = origin
        self.targets: Iterator[Target] | None = None
        self._done = False
        self._then: list[Callable[[], None]] = []

    def when_done(self, call: Callable[[], None]) -> None:
        """``call()`` when everybody has it; at once if that is so."""
        if self._done:
            call()
        else:
            self._then.append(call)

    def finish(self) -> None:
        self._done = True
        for call in self._then:
            call()
        self._then.clear()


class FanOuts:
    """The fan-outs under way. Those of one topic run one after the other, so its subscribers get its messages in the
    same order."""

    def __init__(self, backlog: Backlog, matches: Mapping[str, Mapping[Any, Grant]]) -> None:
        self._backlog = backlog
        self._matches = matches
        self._queues: dict[str, deque[FanOut]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic in self._queues

    def begin(self, message: ApplicationMessage, origin: object) -> FanOut:
        fan_out, topic = FanOut(message, origin), message.topic
        queue = self._queues.get(topic)
        if queue is None:
            queue = self._queues[topic] = deque()
            self._backlog.add(("fan-out", topic), lambda: self._slice(topic))
        queue.append(fan_out)
        return fan_out

    def _slice(self, topic: str) -> bool:
        queue, subscribers = self._queues[topic], self._matches[topic]
        fan_out = queue[0]
        if fan_out.targets is None:
            fan_out.targets = iter(list(subscribers))
        targets = list(islice(fan_out.targets, AT_ONCE))
        for target in targets:
            _deliver(fan_out, target, subscribers.get(target))
        if len(targets) < AT_ONCE:
            queue.popleft()
            fan_out.finish()
        if not queue:
            del self._queues[topic]
        return topic in self._queues


def _deliver(fan_out: FanOut, target: Target, grant: Grant | None) -> None:
    """``grant`` is None if it has unsubscribed meanwhile."""
    if grant is not None:
        try:
            target.deliver(fan_out.message, grant, fan_out.origin)
        except Exception:  # one subscriber's fault must not keep the message from the others
            logger.exception("a message to %s", fan_out.message.topic)
