"""A gateway that is stopped (SIGSTOP) for longer than others wait for it, in the middle of a handler's transaction.

There is one effect, whatever becomes of its transaction. Nothing in the database would hide a second one.
"""

import contextlib
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.postgresql import Database, database
from servers.site import Site, until

pytestmark = pytest.mark.fault

HANDLERS = """
import os
import time
from pathlib import Path

from gateway import MqttConsumer

NAME, FOLDER = os.environ["NAME"], Path(os.environ["FOLDER"])


class Effect(MqttConsumer):
    def receive(self, topic, payload):
        self.connection.execute(os.environ["INSERT"], [NAME])
        self.publish("seen", NAME)
        if payload == b"wait" and NAME == "first":
            (FOLDER / "waiting").touch()
            while not (FOLDER / "go").exists():
                time.sleep(0.01)
"""
CONFIG = """
store: {store}
servers: {{devices: {{protocol: mqtt, bind: "127.0.0.1:{port}", anonymous: true, persistence: false}}}}
routes:
  mqtt: [{{topic: work, app: paused.Effect, atomic: true, attempts: 3, backoff: 0.1}}]
log: {{level: warning}}
"""


class Two:
    """Two gateways on one database."""

    def __init__(self, folder: Path, store: str, insert: str) -> None:
        self.folder, self.ports = folder, {"first": free_port(), "second": free_port()}
        self.gateways = {
            name: GatewayProcess(
                folder / name,
                "paused",
                HANDLERS,
                CONFIG.format(store=store, port=port),
                NAME=name,
                FOLDER=str(folder),
                INSERT=insert,
            )
            for name, port in self.ports.items()
        }

    def start(self, name: str) -> None:
        self.gateways[name].start()
        until(lambda: Site.accepts(self.ports[name]), lambda: self.gateways[name].output())

    def publish(self, name: str, payload: str) -> None:
        """Return when it is acknowledged."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.ports[name])
        client.loop_start()
        client.publish("work", payload, qos=1).wait_for_publish(20)
        client.disconnect()
        client.loop_stop()

    def stop_in_the_middle(self) -> None:
        self.publish("first", "wait")
        until((self.folder / "waiting").exists, lambda: self.gateways["first"].output())
        self.gateways["first"].signal(signal.SIGSTOP)

    def wake(self) -> None:
        (self.folder / "go").touch()
        self.gateways["first"].signal(signal.SIGCONT)

    def close(self) -> None:
        for gateway in self.gateways.values():
            gateway.stop(signal.SIGKILL)


@pytest.fixture
def place() -> Iterator[Database]:
    with database() as place:
        with place.connect() as session:
            session.execute("CREATE TABLE effects (what text)")
        yield place


@pytest.fixture
def two(tmp_path: Path, place: Database) -> Iterator[Two]:
    two = Two(tmp_path, place.url, "INSERT INTO effects VALUES (%s)")
    yield two
    two.close()


def query(place: Database, sql: str) -> list[Any]:
    with place.connect() as session:
        return [value for (value,) in session.execute(sql.encode()).fetchall()]


def is_over(place: Database) -> bool:
    return query(place, "SELECT count(*) FROM gateway_messages WHERE state < 3") == [0]


def given_up(two: Two, place: Database) -> None:
    """Wait until the second gateway has given up the first."""
    until(lambda: query(place, "SELECT count(*) FROM gateway_owners") == [1], lambda: two.gateways["second"].output())


def test_its_message_waits_for_its_transaction_and_has_one_effect(two: Two, place: Database) -> None:
    for name in two.gateways:
        two.start(name)
    two.stop_in_the_middle()
    given_up(two, place)
    two.publish("second", "at once")
    until(lambda: query(place, "SELECT what FROM effects") == ["second"], "others are handled meanwhile")
    two.wake()
    until(lambda: is_over(place), lambda: two.gateways["first"].output())
    assert len(query(place, "SELECT what FROM effects")) == 2
    assert query(place, "SELECT count(*) FROM gateway_messages WHERE state = 3") == [0]


def test_another_has_handled_it_if_its_connection_was_lost_and_what_it_did_is_undone(two: Two, place: Database) -> None:
    for name in two.gateways:
        two.start(name)
    two.stop_in_the_middle()
    given_up(two, place)
    place.server.terminate(place.name)
    until(lambda: query(place, "SELECT what FROM effects") == ["second"], lambda: two.gateways["second"].output())
    two.wake()
    until(
        lambda: "this process no longer has the message" in two.gateways["first"].output(),
        lambda: two.gateways["first"].output(),
    )
    two.publish("first", "at once")
    until(lambda: is_over(place), lambda: two.gateways["first"].output())
    assert len(query(place, "SELECT what FROM effects")) == 2


def test_on_sqlite_everything_else_waits_and_is_handled_when_it_wakes(tmp_path: Path) -> None:
    file = tmp_path / "gateway.db"
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE effects (what)")
    two = Two(tmp_path, f"sqlite:{file}", "INSERT INTO effects VALUES (?)")
    with contextlib.closing(two):
        for name in two.gateways:
            two.start(name)
        two.stop_in_the_middle()
        sent = threading.Thread(target=two.publish, args=("second", "at once"))
        sent.start()
        until(lambda: "unavailable" in two.gateways["second"].output(), lambda: two.gateways["second"].output())
        assert sent.is_alive(), "nothing is acknowledged"
        two.wake()
        sent.join(20)
        with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
            until(
                lambda: database.execute("SELECT count(*) FROM messages WHERE state < 3").fetchall() == [(0,)], "over"
            )
            effects = database.execute("SELECT what FROM effects").fetchall()
            assert database.execute("SELECT count(*) FROM messages WHERE state = 3").fetchall() == [(0,)]
        assert len(effects) == 2
