"""The messages that a gateway handles as the worker of a channel."""

from collections.abc import AsyncIterator

from gateway.counts import channel_counts
from gateway.metrics.family import Sample, counter
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

MESSAGES = counter(
    "gateway_channel_messages_total",
    "Messages to the channels of a ChannelNameRouter, by what became of them: handled, or failed.",
    "channel",
    "result",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    counts = gateway.services[channel_counts]
    for result, numbers in (("handled", counts.handled), ("failed", counts.failed)):
        for channel, number in numbers.items():
            yield MESSAGES.sample(number, channel, result)


READER = Reader("channels", (MESSAGES,), read)
