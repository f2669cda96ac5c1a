"""Every record of a daemon with all scope types is one of the schema."""

import json
import signal
import smtplib
import subprocess
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.programs import program
from servers.site import PATIENCE, ROOT, until
from servers.texts import webhook
from websockets.sync.client import connect

from gateway.logs.fields import json_schema, table

HANDLERS = """
import logging, sys, threading, warnings
from gateway import AsyncHttpConsumer, EmailConsumer, MqttConsumer, SMSConsumer, WebsocketConsumer

warnings.warn("while it is imported")
logging.getLogger("library").addHandler(logging.StreamHandler(sys.stderr))

class Page(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/crash":
            raise KeyError("order")
        if self.scope["path"] == "/noise":
            logging.getLogger("library").error("said by a library")
            logging.getLogger("library").log(35, "at a level of its own")
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
        await self.respond("twelve bytes")

class Chat(WebsocketConsumer):
    def connect(self, message):
        self.accept()
    def receive(self, text, bytes=None):
        self.send(text=text)

class Lamps(MqttConsumer):
    def receive(self, topic, payload):
        if payload == b"crash":
            raise KeyError("lamp")

class Help(EmailConsumer):
    def receive(self, message):
        if "crash" in (message.text or ""):
            raise KeyError("mail")

class Texts(SMSConsumer):
    def receive(self, text, media):
        if text == "crash":
            raise KeyError("text")
"""
CONFIG = """
log: {format: json, arrivals: true}
store: sqlite:gateway.db
servers:
  web: {protocol: http, bind: "127.0.0.1:WEB", access_log: true}
  lamps: {protocol: mqtt, bind: "127.0.0.1:LAMPS"}
  mail: {protocol: smtp, bind: "127.0.0.1:MAIL"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}
routes:
  http: schema_handlers.Page
  websocket: schema_handlers.Chat
  mqtt: schema_handlers.Lamps
  email: [{recipient: help@example.org, app: schema_handlers.Help, inbox: true, attempts: 2, backoff: 1h}]
  sms: schema_handlers.Texts
"""


class Daemon:
    def __init__(self, folder: Path) -> None:
        self.web, self.lamps, self.mail = free_port(), free_port(), free_port()
        config = CONFIG.replace("WEB", f"{self.web}").replace("LAMPS", f"{self.lamps}").replace("MAIL", f"{self.mail}")
        self.process = GatewayProcess(folder, "schema_handlers", HANDLERS, config)
        self.process.start()
        until(lambda: "try: " in self.process.output(), self.process.output)

    def get(self, path: str) -> None:
        httpx.get(f"http://127.0.0.1:{self.web}{path}", headers={"user-agent": "probe/1.0"}, timeout=PATIENCE)

    def chat(self) -> None:
        with connect(f"ws://127.0.0.1:{self.web}/chat", user_agent_header="chatter/2", open_timeout=PATIENCE) as peer:
            peer.send("hello")
            peer.recv(PATIENCE)

    def publish(self, payload: str) -> None:
        command = [program("mosquitto_pub"), "-p", f"{self.lamps}", "-i", "lamp-1", "-t", "lamps/1", "-q", "1"]
        subprocess.run([*command, "-m", payload], timeout=PATIENCE, capture_output=True)

    def write(self, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.mail, timeout=PATIENCE) as client:
            client.sendmail("ann@example.net", ["help@example.org"], f"Subject: Help\r\n\r\n{text}\r\n")

    def text(self, text: str, number: int) -> None:
        body, headers = webhook(text, str(number), secret=b"dev-secret")
        httpx.post(f"http://127.0.0.1:{self.web}/hooks/sms", content=body, headers=headers, timeout=PATIENCE)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.process.output().splitlines()]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    daemon = Daemon(tmp_path_factory.mktemp("schema"))
    try:
        for path in ("/orders/?token=secret", "/crash", "/noise"):
            daemon.get(path)
        daemon.chat()
        daemon.publish("on")
        daemon.publish("crash")
        for number, text in enumerate(["hello", "crash"]):
            daemon.write(text)
            daemon.text(text, number)
        verdicts = {("email", "done"), ("sms", "accepted"), ("mqtt", "acknowledged"), ("websocket", "closed, 1000")}
        until(
            lambda: (
                {each.get("scope") for each in daemon.records() if each["level"] == "error"}
                >= {"http", "mqtt", "email", "sms"}
            ),
            daemon.process.output,
        )
        until(
            lambda: {(each.get("scope"), each.get("verdict")) for each in daemon.records()} >= verdicts,
            daemon.process.output,
        )
    finally:
        assert daemon.process.stop(signal.SIGTERM) == 0
    return daemon.records()


def test_each_record_is_valid(records: list[dict[str, Any]]) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for record in records:
        jsonschema.validate(record, schema)
    assert json.loads((ROOT / "config" / "log.schema.json").read_text()) == schema


def test_there_are_records_of_all_kinds(records: list[dict[str, Any]]) -> None:
    said = "\n".join(record["message"] for record in records)
    for words in (
        "UserWarning",
        "said by a library",
        "at a level of its own",
        "crashed",
        "http web 127.0.0.1:",
        "stopped: ",
    ):
        assert words in said
    assert "secret" not in said


def told(records: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    return next(each for each in records if "duration" in each and facts.items() <= each.items())


def test_what_is_known_of_each_scope_type(records: list[dict[str, Any]]) -> None:
    page = told(records, scope="http", what="GET /orders/", event_type="http.request")
    assert (page["server"], page["verdict"], page["bytes"], page["user_agent"]) == ("web", "200", 12, "probe/1.0")
    assert page["target"] == "schema_handlers.Page"
    assert page["peer"].startswith("127.0.0.1:")
    assert page["duration"] >= 0
    assert len(page["event_id"]) > 5
    spoken = told(records, scope="websocket", event_type="websocket.receive")
    assert (spoken["bytes"], spoken["user_agent"], spoken["what"]) == (5, "chatter/2", "/chat 5 characters")
    lamp = told(records, scope="mqtt", what="lamps/1")
    assert (lamp["server"], lamp["peer"], lamp["bytes"]) == ("lamps", "lamp-1", 2)
    text = told(records, scope="sms", verdict="accepted")
    assert (text["peer"], text["what"], text["bytes"]) == ("+447700900123", "+447700900999", 5)
    mail = told(records, scope="email", verdict="done")
    assert (mail["peer"], mail["what"], mail["attempt"]) == ("ann@example.net", "help@example.org", 1)
    assert mail["bytes"] > 20
    assert mail["route"] == "help@example.org"


def test_a_crash_has_what_arrived_and_its_error(records: list[dict[str, Any]]) -> None:
    crashes = {each["scope"]: each for each in records if each["level"] == "error" and "scope" in each}
    assert crashes["http"]["what"] == "GET /crash"
    assert (crashes["mqtt"]["peer"], crashes["mqtt"]["what"]) == ("lamp-1", "lamps/1")
    assert crashes["email"]["error"] == "KeyError 'mail'"
    assert (crashes["sms"]["server"], crashes["sms"]["target"]) == ("texts", "schema_handlers.Texts")
    assert all(each["traceback"].startswith("Traceback") for each in crashes.values())


def test_the_page_has_the_fields() -> None:
    assert table() in (ROOT / "docs" / "logs.md").read_text()
