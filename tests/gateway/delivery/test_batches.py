"""Batches from the store: gathered across messages that are instances of their own, retried alone."""

from collections.abc import Sequence
from typing import Any

import pytest
from test_worker import done, message, mqtt_app, publish, working
from waiting import until

from gateway import AsyncMqttBatchConsumer, MqttBatchConsumer, MqttMessage
from gateway.store.sqlite import SQLiteStore


def said(name: str, payload: bytes, id: int) -> dict[str, Any]:
    return {**message(name, payload, id), "retain": False, "dup": False}


@pytest.mark.parametrize("base", [MqttBatchConsumer, AsyncMqttBatchConsumer])
async def test_stored_messages_are_handled_together_and_wait_for_nobody(store: SQLiteStore, base: Any) -> None:
    batches: list[list[bytes]] = []

    def handle(self: Any, messages: Sequence[MqttMessage]) -> None:
        batches.append([each.payload for each in messages])

    async def handle_async(self: Any, messages: Sequence[MqttMessage]) -> None:
        handle(self, messages)

    method = handle if base is MqttBatchConsumer else handle_async
    app = mqtt_app(type("Rows", (base,), {"receive_batch": method, "max_delay": 3600.0}))
    sent = [said(f"t/{id}", b"%d" % id, id) for id in range(1, 41)]
    heard = await publish(app, *sent)
    assert sum(event["type"] == "mqtt.ack" for event in heard) == 40
    async with working(store, app):
        await until(lambda: done(store))
    assert sorted(int(each) for batch in batches for each in batch) == list(range(1, 41))
    assert len(batches) < 40


async def test_a_poisoned_message_is_a_dead_letter_and_its_neighbours_are_handled(store: SQLiteStore) -> None:
    handled: list[bytes] = []
    calls: list[list[bytes]] = []

    class Rows(MqttBatchConsumer):
        def receive_batch(self, messages: Sequence[MqttMessage]) -> None:
            calls.append([each.payload for each in messages])
            self.publish("seen", b"%d" % len(messages))
            if b"poison" in calls[-1]:
                raise ValueError("poison")
            handled.extend(calls[-1])

    app = mqtt_app(Rows)
    payloads = [b"1", b"poison", b"2", b"3"]
    await publish(app, *(said("t", payload, id) for id, payload in enumerate(payloads, 1)))
    async with working(store, app):
        await until(lambda: done(store))
    assert (await store.counts()).dead == 1
    assert sorted(handled) == [b"1", b"2", b"3"]
    alone = [call for call in calls if b"poison" in call and len(call) == 1]
    assert len(alone) == 3, "every attempt of its own"
    assert all(call == [b"poison"] for call in calls[-2:])
    assert (await store.counts()).outgoing == len([call for call in calls if b"poison" not in call])
