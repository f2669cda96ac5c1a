"""A publication by the application, until everybody has it."""

import asyncio

from protocols.errors import NotSent
from protocols.mqtt.broker.fan_out import FanOut
from protocols.mqtt.broker.journal import Journal


async def delivered(fan_out: FanOut | None, journal: Journal | None) -> None:
    """Wait until every subscriber has a message, and all that this changed is kept. Raises NotSent if the server ends
    before that."""
    loop = asyncio.get_running_loop()
    if fan_out is not None:
        done = loop.create_future()
        fan_out.when_done(lambda: None if done.done() else done.set_result(None))
        await done
    if journal is not None:
        kept = loop.create_future()
        lost = NotSent("the broker ended before it was kept", retry_after=0.0)
        journal.when(
            journal.position,
            lambda: None if kept.done() else kept.set_result(None),
            lambda: None if kept.done() else kept.set_exception(lost),
        )
        await kept
