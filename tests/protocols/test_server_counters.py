"""What every server counts: bytes, logins, and when it became ready."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from waiting import until

from protocols.access.logins import Outcome
from protocols.access.users import hash_password
from protocols.http.server import HTTPServer, HTTPSettings
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mqtt.server import MQTTServer
from protocols.mqtt.settings import MQTTSettings
from protocols.secret import Secret
from protocols.server import Server, ServerStatus

LIMIT = 10.0
USERS = {"anna": Secret(hash_password(b"right"))}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    event = await receive()
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})
    while event["type"] != f"{scope['type']}.disconnect":
        event = await receive()


def http() -> Server:
    return HTTPServer(app, HTTPSettings(bind="127.0.0.1:0"))


def smtp() -> Server:
    return SMTPServer(app, SMTPSettings(bind="127.0.0.1:0"))


def mqtt() -> Server:
    return MQTTServer(app, MQTTSettings(bind="127.0.0.1:0", anonymous=True))


GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HELLO = b"EHLO peer\r\nNOOP\r\nQUIT\r\n"
NO_MQTT = b"\x10\x0d\0\4MQTT\5\3\0\x3c\0\0\0"
"""A CONNECT of MQTT 5.0 with a flag that is reserved: the server answers with a reason code and closes."""


@pytest.mark.parametrize(("make", "said"), [(http, GET), (smtp, HELLO), (mqtt, NO_MQTT)])
async def test_a_server_counts_its_bytes(make: Callable[[], Server], said: bytes) -> None:
    async with make() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.address.rpartition(":")[2]))
        writer.write(said)
        async with asyncio.timeout(LIMIT):
            heard = await reader.read()
        writer.close()
        traffic = server.traffic
        assert traffic is not None
        await until(lambda: (traffic.bytes_received, traffic.bytes_sent) == (len(said), len(heard)))


async def test_logins_count_by_their_outcome() -> None:
    server = SMTPServer(app, SMTPSettings(bind="127.0.0.1:0", users=USERS))
    assert server.login_outcomes == dict.fromkeys(("right", "wrong", "busy", "unavailable"), 0)
    assert await server.logins.check("anna", b"right") is Outcome.RIGHT
    assert await server.logins.check("anna", b"wrong") is Outcome.WRONG
    assert server.login_outcomes == {"right": 1, "wrong": 1, "busy": 0, "unavailable": 0}
    broker = MQTTServer(app, MQTTSettings(bind="127.0.0.1:0", users=USERS))
    assert broker.login_outcomes is broker.access.logins.outcomes


def test_a_state_begins_when_it_changes_and_not_when_its_words_do(monkeypatch: pytest.MonkeyPatch) -> None:
    server = http()
    times = iter([100.0, 200.0, 300.0])
    monkeypatch.setattr("protocols.server.time.time", lambda: next(times))
    server.status = ServerStatus("connecting", "refused")
    server.status = ServerStatus("connecting", "no such host")
    assert (server.state_since, server.times_ready) == (100.0, 0)
    server.status = ServerStatus("ready")
    server.status = ServerStatus("connecting")
    assert (server.state_since, server.times_ready) == (300.0, 1)


def test_a_server_is_starting_from_the_moment_that_it_is_made() -> None:
    before = time.time()
    assert before <= http().state_since <= time.time()
