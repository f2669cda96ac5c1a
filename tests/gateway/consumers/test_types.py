"""A consumer's scope and events are typed: mypy knows their keys, and an editor completes them."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.main import main

ROOT = Path(main.__code__.co_filename).parents[2]
RIGHT = """
from gateway import (
    AsyncConsumer, AsyncEmailConsumer, AsyncMqttConsumer, EmailConsumer, HttpConsumer, InboundEmail, MqttConsumer,
    SMSConsumer, WebsocketConsumer
)
from pathlib import Path
from typing import Any
from protocols.asgi import MQTTConnectEvent, SMSStatusEvent


class Mail(EmailConsumer):
    def receive(self, message: InboundEmail) -> None:
        print(message.subject.upper(), message.sender.name.upper(), [each.size + 1 for each in message.attachments])
        print(self.scope["rcpt_to"][0].upper(), self.scope["mail_from"].lower())


class Answers(EmailConsumer):
    answers_per_hour = 5

    def receive(self, message: InboundEmail) -> None:
        id: str = self.reply("Hello", attachments=[Path("a.pdf"), ("b.txt", "b"), *message.attachments], cc=message.cc)
        print(id.upper(), self.token and self.token.is_for(message.sender))
        self.send(message.from_, subject="x", text="x", reply_to="Ann <ann@example.org>", headers={"X-A": "b"})


class AsyncAnswers(AsyncEmailConsumer):
    async def receive(self, message: InboundEmail) -> None:
        id: str = await self.forward("ann@example.org", inline=True)
        await self.send_message(b"Subject: x\\r\\n", [id.lower()])


class Things(MqttConsumer):
    def connect(self, message: MQTTConnectEvent) -> None:
        print(message["username"], self.scope["client_id"].upper())

    def receive(self, topic: str, payload: bytes, qos: int) -> None:
        print(self.scope["protocol_version"])


class AsyncThings(AsyncMqttConsumer):
    async def disconnect(self, message: Any) -> None:
        print(self.scope["clean_start"], message["reason_code"])


class Texts(SMSConsumer):
    def status(self, message: SMSStatusEvent) -> None:
        print(self.scope["sender"].upper(), message["status"].upper())


class Page(HttpConsumer):
    def handle(self, body: bytes) -> None:
        print(self.scope["method"].upper(), self.scope["url_route"]["kwargs"]["slug"])


class Live(WebsocketConsumer):
    def connect(self, message) -> None:  # type: ignore[no-untyped-def]
        print(self.scope["path"].upper(), message["type"])


class Raw(AsyncConsumer):
    async def websocket_connect(self, event: dict[str, Any]) -> None:
        print(self.scope["anything"], event["anything"])


class Free(HttpConsumer):
    scope: Any

    def handle(self, body: bytes) -> None:
        print(self.scope["user"])
"""
WRONG = {
    'EmailConsumer: self.scope["rcpt_too"]': '"EmailScope" has no key "rcpt_too"',
    "EmailConsumer: self.send(7)": '"int"; expected',
    "AsyncEmailConsumer: self.reply('x').upper()": 'no attribute "upper"',
    'MqttConsumer: self.scope["clientid"]': '"MQTTScope" has no key "clientid"',
    'MqttBatchConsumer: self.scope["clientid"]': '"MQTTScope" has no key "clientid"',
    'SMSConsumer: self.scope["from"]': '"SMSScope" has no key "from"',
    'HttpConsumer: self.scope["url"]': '"HTTPScope" has no key "url"',
    'WebsocketConsumer: self.scope["method"]': '"WebSocketScope" has no key "method"',
    'SMSConsumer: self.status({"type": "sms.status"})': "Missing keys",
    'MqttConsumer: self.disconnect({"type": "mqtt.disconnect"})': "Missing keys",
    'WebsocketConsumer: self.connect({"type": "websocket.connected"})': "websocket.connected",
}
"""Class and expression -> what mypy says."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says about both."""
    folder = tmp_path_factory.mktemp("types")
    right, wrong = folder / "right.py", folder / "wrong.py"
    right.write_text(RIGHT)
    lines = [f"from gateway import {', '.join(sorted({line.partition(':')[0] for line in WRONG}))}"]
    for number, line in enumerate(WRONG):
        name, _, expression = line.partition(": ")
        lines += [f"class C{number}({name}):", f"    def look(self) -> None: print({expression})"]
    wrong.write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", str(right), str(wrong)]  # where `make check` has left what it knows
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    found = (line.partition(":") for line in done.stdout.splitlines())
    return [f"{Path(path).name}:{error}" for path, _, error in found]  # perhaps of an earlier run, whose folder is gone


@pytest.mark.timeout(300)
def test_right_keys_are_right(said: list[str]) -> None:
    assert [line for line in said if line.startswith("right.py")] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(len(WRONG)), ids=list(WRONG))
def test_a_wrong_key_is_an_error(said: list[str], number: int) -> None:
    line = f"wrong.py:{3 + 2 * number}: error: "
    assert any(each.startswith(line) and list(WRONG.values())[number] in each for each in said), said
