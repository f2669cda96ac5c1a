"""A batch whose handler ends with a cancellation of its own: what it has waited for was cancelled by somebody else."""

import asyncio
from collections.abc import Sequence

import pytest
from test_batches import said
from test_worker import done, mqtt_app, publish, working
from waiting import until

from gateway import AsyncMqttBatchConsumer, MqttMessage, Policy
from gateway.delivery.service import deliveries
from gateway.store.sqlite import SQLiteStore


@pytest.mark.parametrize("how", ["waited for", "itself"])
@pytest.mark.parametrize("atomic", [False, True])
async def test_it_has_failed_and_its_messages_are_tried_again(store: SQLiteStore, how: str, atomic: bool) -> None:
    batches: list[list[bytes]] = []

    class Rows(AsyncMqttBatchConsumer):
        async def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            batches.append([each.payload for each in messages])
            if b"bad" not in batches[-1]:
                return
            if how == "itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            waited = asyncio.ensure_future(asyncio.sleep(60))
            waited.cancel()
            await waited

    app = mqtt_app(Rows, Policy(inbox=True, attempts=2, backoff=0.01, atomic=atomic))
    await publish(app, said("t", b"good", 1), said("t", b"bad", 2))
    async with working(store, app):
        await until(lambda: done(store))
        deliveries.get().use.transactions.close()
    assert [b"bad"] in batches
    assert (await store.counts()).dead == 1
