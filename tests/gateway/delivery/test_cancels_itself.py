"""A handler, whose sender waits, that cancels the task it runs in."""

import asyncio
from typing import Any

from test_guard import MAIL, deliver, email
from waiting import until

from gateway import AsyncEmailConsumer, Policy
from gateway.delivery.guard import Guard
from gateway.store.sqlite import SQLiteStore


async def test_its_message_may_be_sent_again_and_is_a_dead_letter_in_the_end(store: SQLiteStore) -> None:
    class Mail(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    app = Guard(Mail.as_asgi(), Policy(attempts=2, backoff=0.01), "email")

    async def is_dead() -> bool:
        try:
            await deliver(app, email(), MAIL)
        except asyncio.CancelledError:  # as a server's run gets it, which then refuses the mail for now
            return False
        return (await store.counts()).dead == 1

    assert not await is_dead()
    await until(is_dead, 5)
