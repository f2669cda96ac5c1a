"""QoS 2 in the client role over restarts, step by step with a scripted broker."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from client_desk import LIMIT, App, Peer, ready, scripted, settings
from test_client_qos2 import PUBCOMP, PUBREC, PUBREL, Sender, step
from waiting import until

from protocols.errors import BindError
from protocols.mqtt.broker.journal import Changes
from protocols.mqtt.client.client import MQTTClient
from protocols.mqtt.client.session import ClientSession


class Kept:
    """What outlives a process: what was committed. A commit waits for ``disk``, and fails while it is ``full``."""

    def __init__(self, records: Mapping[str, bytes] | None = None) -> None:
        self.records = dict(records or {})
        self.disk = asyncio.Event()
        self.disk.set()
        self.full = False

    async def stop(self, *_: object) -> None:
        """A handler that stops the disk."""
        self.disk.clear()

    async def load(self) -> Mapping[str, bytes]:
        return dict(self.records)

    async def commit(self, changes: Changes) -> None:
        await self.disk.wait()
        if self.full:
            raise OSError("no space left")
        for key, value in changes.items():
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value


def server(app: Any, url: str, kept: Kept, **changes: Any) -> MQTTClient:
    """Always the same client at the same broker, wherever that listens in this test."""
    made = MQTTClient(app, settings(url, subscribe=(), qos=2, client_id="one", **changes), persistence=kept)
    made._session._identity = b"one"
    return made


async def play(app: Any, kept: Kept, *script: Any, **changes: Any) -> None:
    async with scripted(*script) as (url, over), server(app, url, kept, **changes):
        await asyncio.wait_for(over.wait(), LIMIT)


async def test_pubrec_and_pubcomp_leave_when_what_they_stand_for_is_kept() -> None:
    kept = Kept()
    app = App(kept.stop)

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        await until(app.payloads)
        assert await peer.silent()
        kept.disk.set()
        assert await peer.read() == step(PUBREC, 7)
        assert "in 7" in kept.records
        kept.disk.clear()
        peer.say(PUBREL, b"\0\7")
        assert await peer.silent()
        kept.disk.set()
        assert await peer.read() == step(PUBCOMP, 7)
        assert "in 7" not in kept.records

    await play(app, kept, first)


async def test_what_is_kept_after_our_goodbye_is_not_sent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mqtt.client.broker_connection.CLOSE_TIMEOUT", 0.2)
    kept, app, heard = Kept(), App(), asyncio.Queue[bytes]()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert await peer.read() == step(PUBREC, 7)
        kept.disk.clear()
        peer.say(PUBREL, b"\0\7")
        heard.put_nowait(await peer.read())
        kept.disk.set()
        with pytest.raises(asyncio.IncompleteReadError):
            await peer.read()

    async with scripted(first) as (url, over):
        async with server(app, url, kept):
            await until(app.payloads)
            await until(lambda: not kept.disk.is_set())
        await asyncio.wait_for(over.wait(), LIMIT)
    assert (await heard.get())[0] == 0xE0  # DISCONNECT, and no PUBCOMP after it
    assert "write_eof" not in caplog.text


async def test_a_full_disk_delays_the_pubrec(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.mqtt.broker.journal_writer.PAUSE", 0.05)
    kept, app = Kept(), App()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        kept.full = True
        peer.publish(7, b"one")
        await until(lambda: "no space left" in caplog.text)
        assert await peer.silent()
        kept.full = False
        assert await peer.read() == step(PUBREC, 7)

    await play(app, kept, first)
    assert app.payloads() == [b"one"]


@pytest.mark.parametrize("same", [True, False], ids=["sent again", "another message"])
async def test_a_message_that_is_handled_again_after_a_kill_has_the_same_event_id(same: bool) -> None:
    """The application has no message before its event id is kept."""
    kept, killed, running = Kept(), dict[str, bytes](), asyncio.Event()

    async def hang(event: Any, send: Any) -> None:
        killed.update(kept.records)
        running.set()
        await asyncio.sleep(LIMIT)

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        await running.wait()

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        peer.publish(7, b"one", dup=same)
        assert await peer.read() == step(PUBREC, 7)

    before, after = App(hang), App()
    await play(before, kept, first, disconnect_grace=0.0)
    await play(after, Kept(killed), second)
    [one], [other] = ([event for event in app.events if event["type"] == "mqtt.receive"] for app in (before, after))
    assert (one["event"] == other["event"]) is same


@pytest.mark.parametrize("released", [False, True])
async def test_what_was_handled_is_not_handled_again_after_a_restart(released: bool) -> None:
    kept, app, killed = Kept(), App(), dict[str, bytes]()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert await peer.read() == step(PUBREC, 7)
        killed.update(kept.records)

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        if not released:
            peer.publish(7, b"one", dup=True)
            assert await peer.read() == step(PUBREC, 7)
        peer.say(PUBREL, b"\0\7")
        assert await peer.read() == step(PUBCOMP, 7)
        peer.publish(7, b"two")
        assert await peer.read() == step(PUBREC, 7)

    await play(app, kept, first)
    await play(app, Kept(killed), second)
    assert app.payloads() == [b"one", b"two"]


@pytest.mark.parametrize(
    ("payload", "dup"), [(b"two", True), (b"one", False)], ids=["other content", "sent for the first time"]
)
async def test_another_message_under_the_same_id_is_handled(payload: bytes, dup: bool) -> None:
    """The broker has forgotten the session since, or a process that kept nothing went on with it."""
    kept, app, killed = Kept(), App(), dict[str, bytes]()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert await peer.read() == step(PUBREC, 7)
        killed.update(kept.records)

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        peer.publish(7, payload, dup=dup)
        assert await peer.read() == step(PUBREC, 7)

    await play(app, kept, first)
    await play(app, Kept(killed), second)
    assert app.payloads() == [b"one", payload]


async def test_nothing_counts_in_a_new_session() -> None:
    kept, app, killed = Kept(), App(), dict[str, bytes]()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        peer.publish(7, b"one")
        assert await peer.read() == step(PUBREC, 7)
        killed.update({**kept.records, "out 1": b""})

    async def second(peer: Peer) -> None:
        await peer.welcome(session=False)
        peer.publish(7, b"one", dup=True)
        assert await peer.read() == step(PUBREC, 7)
        assert "out 1" not in after.records

    await play(app, kept, first)
    after = Kept(killed)
    await play(app, after, second)
    assert app.payloads() == [b"one", b"one"]


async def test_a_pubrel_that_was_owed_is_sent_after_a_restart() -> None:
    """Many brokers deliver the message only then."""
    kept, app, killed = Kept(), Sender(), dict[str, bytes]()

    async def first(peer: Peer) -> None:
        await peer.welcome()
        assert (await peer.read())[:1] == b"\x34"
        await until(lambda: "out 1" in kept.records)
        killed.update(kept.records)

    async def second(peer: Peer) -> None:
        await peer.welcome(session=True)
        assert await peer.read() == step(PUBREL, 1)
        peer.say(PUBCOMP, b"\0\1")
        await until(lambda: "out 1" not in after.records)

    await play(app, kept, first)
    after = Kept(killed)
    await play(App(), after, second)
    assert app.outcomes == ["Disconnected"]


def test_of_another_broker_or_client_nothing_counts() -> None:
    session = ClientSession(identity="two")
    session.restore({"session": b"one", "in 7": b"\0", "out 1": b""})
    assert (session.handled, session.unreleased) == ({}, set())
    session = ClientSession(identity="one")
    session.restore({"session": b"one", "in 7": b"\x10" + bytes(8), "out 1": b""})
    assert (session.handled, session.unreleased) == ({7: 0x10}, {1})


@pytest.mark.parametrize("records", [{"in x": b"\0"}, {"in 7": b""}])
async def test_records_that_cannot_be_read_are_one_sentence(records: dict[str, bytes]) -> None:
    client = server(App(), "mqtt://127.0.0.1:1", Kept({"session": b"one", **records}))
    with pytest.raises(BindError, match="what was kept of its session cannot be read"):
        await client.start()


async def test_stop_says_goodbye_after_what_is_kept() -> None:
    kept = Kept()
    app = App(kept.stop)

    async def first(peer: Peer) -> None:
        await peer.welcome()
        await ready(client)
        peer.publish(7, b"one")
        await until(lambda: app.payloads() and not client.active())
        stopping.append(asyncio.ensure_future(client.stop(LIMIT)))
        assert await peer.silent()
        kept.disk.set()
        assert await peer.read() == step(PUBREC, 7)
        assert (await peer.read())[0] == 0xE0

    stopping: list[asyncio.Future[None]] = []
    async with scripted(first) as (url, over):
        client = server(app, url, kept)
        await client.start()
        await asyncio.wait_for(over.wait(), LIMIT)
        await stopping[0]
