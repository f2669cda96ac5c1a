"""A server that another one replaces leaves the wills of its clients to that: who comes back has not gone."""

from collections.abc import Mapping
from typing import Any

import mqtt5_wire as wire
import pytest
from mqtt_memory import Client, Clock

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.settings import MQTTSettings

ABSENCE = 30.0
EXPIRIES = pytest.mark.parametrize("expiry", [0, 600])
KEPT = pytest.mark.parametrize("persistence", [False, True])


class Site:
    """A broker, and the one that takes its place."""

    def __init__(self, *, persistence: bool) -> None:
        self.clock = Clock()
        self.kept: dict[str, bytes] = {}
        self.persistence = persistence
        self.broker = self._made()
        self.watcher = self._watching(clean=True)

    def _made(self) -> Broker:
        self.journal = Journal(lambda: None) if self.persistence else None
        return Broker(MQTTSettings(), journal=self.journal, clock=self.clock)

    def _watching(self, *, clean: bool) -> Client:
        watcher = self.connect("watcher", 600, clean=clean)
        watcher.say(wire.subscribe("w", qos=0))
        watcher.heard()
        return watcher

    def connect(self, name: str, expiry: int, *, clean: bool = True, **more: Any) -> Client:
        return Client(self.broker, wire.connect(name, clean=clean, session_expiry_interval=expiry, **more))

    def connect_as(self, user: str, **more: Any) -> Client:
        client = Client(self.broker, wire.connect("dev", **more), accept=None)
        client.handshake.user = user
        client.accept({})
        return client

    def with_will(self, expiry: int, delay: int = 0, **more: Any) -> Client:
        properties = {"will_properties": {"will_delay_interval": delay}} if delay else {}
        return self.connect("dev", expiry, will=("w", b"gone", 0), **properties, **more)

    def replace(self, *clients: Client) -> None:
        """Let another broker take over from this one, which ends the connections of ``clients``."""
        for each in (*clients, self.watcher):
            each.connection.end(with_will=True, absence=ABSENCE)
        records = self._on_disk() if self.journal is not None else dict(self.broker.records())
        self.broker = self._made()
        self.broker.restore(records)
        self.watcher = self._watching(clean=False)

    def _on_disk(self) -> Mapping[str, bytes]:
        assert self.journal is not None
        for key, value in self.journal.take()[1].items():
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value
        return self.kept

    def heard_after(self, seconds: float) -> list[bytes]:
        """What is published when so much more time has passed."""
        self.clock.now += seconds
        self.broker.tick()
        return [wire.read(data, 5).payload for data in self.watcher.heard()]


@EXPIRIES
@KEPT
def test_the_will_of_a_client_that_comes_back_is_not_published(expiry: int, persistence: bool) -> None:
    site = Site(persistence=persistence)
    for clean in (False, True):
        site.replace(site.with_will(expiry))
        assert site.heard_after(ABSENCE - 1) == []
        back = site.with_will(expiry, clean=clean)
        assert site.heard_after(ABSENCE + 1) == []
        back.cut()
        assert site.heard_after(0) == [b"gone"]


@EXPIRIES
@KEPT
def test_the_will_of_a_client_that_does_not_come_back_is_published_once(expiry: int, persistence: bool) -> None:
    site = Site(persistence=persistence)
    site.replace(site.with_will(expiry))
    assert site.heard_after(ABSENCE - 1) == []
    assert site.heard_after(1) == [b"gone"]
    site.replace()
    assert site.heard_after(10 * ABSENCE) == []


@KEPT
def test_each_broker_that_takes_over_gives_the_client_its_time(persistence: bool) -> None:
    site = Site(persistence=persistence)
    site.replace(site.with_will(0))
    for _ in range(3):
        assert site.heard_after(ABSENCE - 1) == []
        site.replace()
    assert site.heard_after(ABSENCE) == [b"gone"]


def test_a_longer_delay_of_the_will_counts_while_its_session_lasts() -> None:
    site = Site(persistence=False)
    site.replace(site.with_will(600, 100))
    assert (site.heard_after(99), site.heard_after(1)) == ([], [b"gone"])
    site.replace(site.with_will(0, 100))
    assert (site.heard_after(ABSENCE - 1), site.heard_after(1)) == ([], [b"gone"])


def test_a_client_of_another_user_with_the_same_identifier_is_another_one() -> None:
    site = Site(persistence=False)
    site.replace(site.connect_as("ann", will=("w", b"gone", 0)))
    site.connect_as("bob")
    assert site.heard_after(0) == [b"gone"]


@pytest.mark.parametrize("with_will", [True, False])
def test_a_session_that_an_operator_deletes_meanwhile(with_will: bool) -> None:
    site = Site(persistence=False)
    site.replace(site.with_will(600))
    site.broker.delete(site.broker.sessions["dev"], with_will=with_will)
    assert site.heard_after(0) == ([b"gone"] if with_will else [])
    assert site.heard_after(10 * ABSENCE) == []
