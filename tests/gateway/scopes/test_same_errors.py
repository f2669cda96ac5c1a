"""A wrong event is the same error over a live connection, under a policy, and from the store: over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosmtplib
import httpx
import pytest
from waiting import until

from gateway import services
from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

LIMIT = 20.0
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:0"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /texts, insecure: true, send_url: "http://127.0.0.1:9/"}}
routes:
  email:
    - {{app: {module}.email, address: live@example.org}}
    - {{app: {module}.email, address: policy@example.org, attempts: 2}}
    - {{app: {module}.email, address: inbox@example.org, inbox: true}}
  sms:
    - {{app: {module}.sms, sender: "+441"}}
    - {{app: {module}.sms, sender: "+442", attempts: 2}}
    - {{app: {module}.sms, sender: "+443", inbox: true}}
  mqtt:
    - {{app: {module}.mqtt, topic: live}}
    - {{app: {module}.mqtt, topic: inbox, inbox: true}}
submission: {{url: "file:outbox"}}
store: sqlite:gateway.db
log: {{level: error}}
"""

NOT_EVENTS: list[Any] = [{}, None, "email.accept", ["type"], {"type": None}, {"type": 7}, {"type": ["x"]}, {1: 2}]
OTHERS = ["email.acept", "", "__init__", "http.response.start", "websocket.send", "email.receive", "lifespan.startup"]
MAIL = b"Subject: hi\r\n\r\nhello\r\n"
POST = {"type": "email.send", "mail_from": "a@x.org", "rcpt_to": ["b@x.org"], "message": MAIL}
TEXT = {"type": "sms.send", "text": "hi"}
PUBLICATION = {"type": "mqtt.send", "topic": "elsewhere", "payload": b""}


def without(event: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in keys}


WRONG: dict[str, list[Any]] = {
    "email": [
        *({"type": "email.reject", "code": code} for code in (250, 450, "550", 550.0, True, None, 10**30)),
        *({"type": "email.reject", "reason": reason} for reason in (b"no", 5, ["no"])),
        *({"type": "email.defer", "retry_after": wait} for wait in ("5", b"5", True, float("nan"), [5], "5" * 10_000)),
        {"type": "email.defer", "reason": b"later"},
        *(without(POST, key) for key in ("mail_from", "rcpt_to", "message")),
        *({**POST, "rcpt_to": given} for given in ("b@x.org", [], None, ["b"], [7], ["b@x.org\r\nDATA"])),
        *({**POST, "mail_from": given} for given in (None, "a", b"a@x.org")),
        *({**POST, "message": given} for given in ("text", None, b"", b"no header", b"To: a\r\nTo: b\r\n\r\n")),
        {**POST, "wait": 1},
    ],
    "sms": [
        *({"type": "sms.reject", "reason": reason} for reason in (b"no", 5, ["no"], False)),
        *({"type": "sms.defer", "retry_after": wait} for wait in ("5", True, float("nan"))),
        without(TEXT, "text"),
        *({**TEXT, "text": text} for text in ("", " \n", None, b"hi", 7, "half \ud83d")),
        *({**TEXT, "media": media} for media in ("http://x/y", [7], ["a b"], [""], {})),
        *({**TEXT, "to": to} for to in (7, "a\nb", " ", "x" * 256)),
        {**TEXT, "from": 7},
    ],
    "mqtt": [
        *({"type": "mqtt.ack", "id": given} for given in ("1", None, True, 1.0, 99)),
        {"type": "mqtt.ack"},
        {"type": "mqtt.ack", "id": 1, "reason_code": 5},
        {"type": "mqtt.ack", "id": 1, "properties": 7},
        {"type": "mqtt.ack", "id": 1, "properties": {"topic_alias": 1}},
        *(without(PUBLICATION, key) for key in ("topic", "payload")),
        *({**PUBLICATION, "topic": topic} for topic in ("", "a/#", "a\0", b"t", None, "x" * 70_000)),
        *({**PUBLICATION, "payload": payload} for payload in ("text", None, 7)),
        *({**PUBLICATION, "qos": qos} for qos in (3, "1", 1.0, None)),
        {**PUBLICATION, "retain": "yes"},
        {**PUBLICATION, "properties": {"content_type": 1}},
        {"type": "mqtt.disconnect", "reason_code": 0x88},
        {"type": "mqtt.accept"},
        {"type": "mqtt.reject"},
    ],
}
RIGHT: dict[str, list[Any]] = {  # keys that nobody knows are no mistake
    "email": [{**POST, "colour": "red"}, {"type": "email.accept", "colour": "red"}],
    "sms": [{**TEXT, "colour": "red"}, {"type": "sms.accept", "colour": "red"}],
    "mqtt": [{**PUBLICATION, "colour": "red"}],
}
TOO_LATE: dict[str, list[Any]] = {
    "email": [{"type": f"email.{verb}"} for verb in ("accept", "reject", "defer")],
    "sms": [{"type": f"sms.{verb}"} for verb in ("accept", "reject", "defer")],
    "mqtt": [],
}

heard: dict[str, list[str]] = {}
"""What became of each event, by where the message came."""
senders: dict[str, Callable[[Any], Awaitable[None]]] = {}


async def outcome(send: Any, event: Any) -> str:
    try:
        await send(event)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "sent"


async def attempt(where: str, kind: str, send: Any, *more: Any) -> None:
    events = [*NOT_EVENTS, *({"type": each} for each in OTHERS), *WRONG[kind], *RIGHT[kind], *more, *TOO_LATE[kind]]
    heard[where] = [f"{event!r:.60} -> {await outcome(send, event)}" for event in events]
    senders[where] = send


async def email(scope: Any, receive: Any, send: Any) -> None:
    while (event := await receive()).get("more_body"):
        pass
    if event["type"] == "email.receive":
        await attempt(scope["rcpt_to"][0].partition("@")[0], "email", send)


async def sms(scope: Any, receive: Any, send: Any) -> None:
    if (await receive())["type"] == "sms.receive":
        await attempt({"1": "live", "2": "policy", "3": "inbox"}[scope["sender"][3]], "sms", send)


async def mqtt(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    while (event := await receive())["type"] != "mqtt.disconnect":
        if event["type"] == "mqtt.connect":
            await send({"type": "mqtt.accept"})
        if event["type"] == "mqtt.receive":
            acknowledge = {"type": "mqtt.ack", "id": event["id"]}
            await attempt(event["topic"], "mqtt", send, acknowledge, acknowledge)


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunningGateway]:
    monkeypatch.chdir(tmp_path)
    heard.clear()
    before = services.install({})
    gateway = RunningGateway(build(parse(FILE.format(module=__name__), name="same.yaml", folder=Path())))
    await install(gateway)
    yield gateway
    await gateway.drain()
    await gateway.shut_down()
    await gateway.close()
    services.install(before)


def address(running: RunningGateway, name: str) -> str:
    return next(each for each in running.gateway.servers if each.name == name).address


async def same(running: RunningGateway, *where: str) -> None:
    """Wait until the messages have been handled everywhere; compare what became of the events, and of one more."""
    await until(lambda: senders.keys() == set(where) and not running.active())
    for each in where:
        heard[each].append(await outcome(senders[each], {"type": "email.accept"}))
        heard[each] = [line.partition("; legal: mqtt")[0] for line in heard[each]]  # there is no SUBACK in a store
    live = heard[where[0]]
    assert sum(": " in line.partition(" -> ")[2] for line in live) > 30
    for each in where[1:]:
        assert heard[each] == live
    senders.clear()


async def test_mail(running: RunningGateway) -> None:
    host, port = address(running, "mail").split(":")
    for where in ("live", "policy", "inbox"):
        mail = f"From: a@x.org\r\nMessage-ID: <{where}@x.org>\r\n\r\nhello\r\n".encode()
        await aiosmtplib.send(
            mail, sender="a@x.org", recipients=[f"{where}@example.org"], hostname=host, port=int(port)
        )
    await same(running, "live", "policy", "inbox")


async def test_texts(running: RunningGateway) -> None:
    async with httpx.AsyncClient() as client:
        for digit in "123":
            text = {"id": f"m{digit}", "from": f"+44{digit}0000000", "to": "+447400000000", "text": "hi"}
            await client.post(f"http://{address(running, 'web')}/texts", content=json.dumps(text))
    await same(running, "live", "policy", "inbox")


async def test_publications(running: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection(*address(running, "devices").split(":"))
    writer.write(b"\x10\x0d\0\4MQTT\4\2\0\0\0\1d")
    assert await reader.readexactly(4) == b"\x20\x02\0\0"
    for number, topic in enumerate((b"live", b"inbox"), 1):
        writer.write(bytes((0x32, 4 + len(topic), 0, len(topic))) + topic + bytes((0, number)))
        assert await reader.readexactly(4) == bytes((0x40, 2, 0, number))
    await until(lambda: senders.keys() == {"live", "inbox"})
    writer.close()
    await same(running, "live", "inbox")
