"""Messages that are begun as they are stored: one commit before the handler, one after it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conversation import Conversation, scope
from test_worker import done
from waiting import until

from gateway import AsyncEmailConsumer, AsyncMqttConsumer, Policy
from gateway.delivery.current_route import current_route
from gateway.delivery.guard import Guard
from gateway.delivery.service import deliveries
from gateway.delivery.worker import Worker
from gateway.store import Message, StoreUnavailable
from gateway.store.sqlite import SQLiteStore

LIMIT = 10.0
INBOX = Policy(inbox=True, attempts=3, backoff=0.05)
REPEATED = Message("m1", "mqtt", "mqtt -> Reads", "m1", 0.0, b"")
CONNECT = {"type": "mqtt.connect", "username": None, "password": None}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}
MAIL = ({"type": "email.receive", "body": b"Subject: x\r\n\r\nhello\r\n", "more_body": False},)


def message(number: int, topic: str = "t") -> dict[str, Any]:
    event = {"topic": topic, "payload": b"%d" % number, "qos": 1, "id": number, "dup": False, "properties": {}}
    return {"type": "mqtt.receive", **event}


class Takes:
    """Counts the calls of ``store.take`` that a worker made since the first found nothing."""

    def __init__(self, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.idle = asyncio.Event()
        take = store.take

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.number += self.idle.is_set()
            taken = await take(*args, **kwargs)
            if not taken:
                asyncio.get_running_loop().call_soon(self.idle.set)
            return taken

        monkeypatch.setattr(store, "take", counted)
        monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", LIMIT)


@contextlib.asynccontextmanager
async def working(app: Any, takes: Takes) -> AsyncIterator[Worker]:
    worker = Worker(deliveries.get(), app, {})
    worker.start()
    await takes.idle.wait()
    await asyncio.sleep(0.02)
    yield worker
    await worker.stop(LIMIT)


@contextlib.asynccontextmanager
async def connected(app: Any) -> AsyncIterator[Conversation]:
    async with Conversation(app, scope("mqtt", listener="devices", username=None)) as peer:
        peer.say(CONNECT)
        assert await peer.hear() == {"type": "mqtt.accept"}
        yield peer
        peer.say(DISCONNECT)
        await peer.end()


@pytest.fixture
def takes(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> Takes:
    return Takes(store, monkeypatch)


class Reads(AsyncMqttConsumer):
    seen: list[bytes]

    async def receive(self, topic: str, payload: bytes) -> None:
        self.seen.append(payload)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    Reads.seen = []


async def test_an_idle_worker_takes_nothing_from_the_store(store: SQLiteStore, takes: Takes) -> None:
    app = Guard(Reads.as_asgi(), INBOX, "mqtt -> Reads")
    async with working(app, takes), connected(app) as device:
        for number in range(1, 6):
            device.say(message(number))
            assert await device.hear() == {"type": "mqtt.ack", "id": number}
        await until(lambda: done(store))
        assert Reads.seen == [b"1", b"2", b"3", b"4", b"5"]
        assert takes.number == 0


async def test_a_mail_that_is_stored_is_begun_too(store: SQLiteStore, takes: Takes) -> None:
    subjects: list[str] = []

    class Mail(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            subjects.append(message["Subject"])

    app = Guard(Mail.as_asgi(), INBOX, "email -> Mail")
    mail = scope("email", listener="mail", mailbox=None, message_id=None)
    async with working(app, takes):
        async with Conversation(app, mail) as sender:
            sender.say(*MAIL)
            assert await sender.hear() == {"type": "email.accept"}
        await until(lambda: done(store))
        assert subjects == ["x"]
        assert takes.number == 0


async def test_more_than_there_is_room_for_is_taken_once_each(store: SQLiteStore, takes: Takes) -> None:
    app = Guard(Reads.as_asgi(), INBOX, "mqtt -> Reads")
    async with working(app, takes), connected(app) as device:
        device.say(*map(message, range(200)))
        await until(lambda: len(Reads.seen) >= 200)
        await until(lambda: done(store))
        assert sorted(Reads.seen, key=int) == [b"%d" % number for number in range(200)]
        assert takes.number > 0
        async with asyncio.timeout(LIMIT):
            before = -1
            while takes.number != before:  # until it has caught up
                before = takes.number
                device.say(message(999))
                await asyncio.sleep(0.02)
                await until(lambda: done(store))


async def test_one_that_fails_is_tried_again_when_it_is_due(store: SQLiteStore, takes: Takes) -> None:
    attempts: list[int] = []

    class Fails(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            attempts.append(self.scope["extensions"]["delivery"]["attempt"])
            if len(attempts) < 3:
                raise RuntimeError

    app = Guard(Fails.as_asgi(), INBOX, "mqtt -> Fails")
    async with working(app, takes), connected(app) as device:
        device.say(message(1))
        await device.hear()
        await until(lambda: done(store))
    assert attempts == [1, 2, 3]


async def test_a_topic_keeps_its_order(store: SQLiteStore, takes: Takes) -> None:
    running: list[bytes] = []
    together: list[bytes] = []

    class Slow(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            running.append(payload)
            together.extend(running[1:])
            await asyncio.sleep(0.005)
            running.clear()
            Reads.seen.append(payload)

    app = Guard(Slow.as_asgi(), Policy(inbox=True, order="key"), "mqtt -> Slow")
    async with working(app, takes), connected(app) as device:
        for number in range(20):
            device.say(message(number))
            await asyncio.sleep(0.001)
        await until(lambda: len(Reads.seen) >= 20)
    assert Reads.seen == [b"%d" % number for number in range(20)]
    assert together == []


async def test_a_worker_that_retires_begins_nothing_and_goes_on_when_it_resumes(
    store: SQLiteStore, takes: Takes
) -> None:
    app = Guard(Reads.as_asgi(), INBOX, "mqtt -> Reads")
    async with working(app, takes) as worker, connected(app) as device:
        worker.retire()
        device.say(message(1))
        assert await device.hear() == {"type": "mqtt.ack", "id": 1}
        assert (await store.counts()).waiting == 1
        await asyncio.sleep(0.02)
        worker.resume()
        await until(lambda: done(store))
        assert Reads.seen == [b"1"]


async def test_a_stop_waits_no_longer_for_messages_that_could_not_be_stored(
    store: SQLiteStore, takes: Takes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def full(*_: Any, **__: Any) -> Any:
        asked.set()
        await release.wait()
        raise StoreUnavailable("disk full")

    app = Guard(Reads.as_asgi(), INBOX, "mqtt -> Reads")
    async with working(app, takes) as worker, connected(app) as device:
        with monkeypatch.context() as broken:
            broken.setattr(store, "put_all", full)
            device.say(message(1))
            await asked.wait()
            stop = asyncio.ensure_future(worker.stop(LIMIT))
            await asyncio.sleep(0.02)
            assert not stop.done()
            release.set()
            async with asyncio.timeout(LIMIT / 2):
                await stop


async def test_places_that_were_kept_for_nothing_are_free_for_what_waits(store: SQLiteStore, takes: Takes) -> None:
    app = Guard(Reads.as_asgi(), INBOX, "mqtt -> Reads")
    async with working(app, takes) as worker, connected(app) as device:
        kept = worker.reserve([REPEATED] * worker.size)  # of which none turns out to be a new message
        device.say(message(1))
        assert await device.hear() == {"type": "mqtt.ack", "id": 1}
        await asyncio.sleep(0.02)  # the worker has looked, and had no room
        worker.fill(kept, [])
        await until(lambda: done(store), LIMIT / 2)
    assert Reads.seen == [b"1"]


async def test_a_handler_does_not_run_in_the_context_of_the_connection(store: SQLiteStore, takes: Takes) -> None:
    routes: list[str] = []

    class Sees(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            routes.append(current_route.get())

    app = Guard(Sees.as_asgi(), INBOX, "mqtt -> Sees")
    async with working(app, takes):
        current_route.set("another route")
        async with connected(app) as device:
            device.say(message(1))
            await device.hear()
        await until(lambda: done(store))
    assert routes == [""]
