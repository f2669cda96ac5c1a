"""What the banner says to try can be pasted: these servers take it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from servers.command import Terminal
from servers.daemon import Daemon
from servers.ports import free_port

from gateway import EmailConsumer, EmailToRouter, MqttConsumer, ProtocolTypeRouter, TopicRouter, address, topic
from gateway.runtime.banner import try_line
from protocols.access.users import hash_password
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.mqtt.access.acl import Rule
from protocols.net.listener import TLS
from protocols.secret import Secret

HANDLERS = """
from gateway import MqttConsumer

class Readings(MqttConsumer):
    def receive(self, topic, payload):
        print("got", topic, payload.decode(), flush=True)
"""
FILE = """
servers:
  devices:
    protocol: mqtt
    bind: "127.0.0.1:{port}"
    users: {{kitchen: "{hash}"}}
    acl: [{{allow: publish, topic: "sensors/%u/temperature", user: "*"}}]
routes:
  mqtt: [{{topic: "sensors/{{room}}/temperature", app: try_handlers.Readings}}]
"""


class Thermometer(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None: ...


class Mail(EmailConsumer):
    def receive(self, message: Any) -> None: ...


APP = ProtocolTypeRouter(
    {
        "mqtt": TopicRouter([topic("sensors/{room}/temperature", Thermometer)]),
        "email": EmailToRouter([address("help@example.org", Mail)]),
    }
)
KITCHEN = {"kitchen": Secret("$2b$12$DQPavmNepPTGZmQDgK77werSPi/Uu.pcxk.hpRsdo..WowBvoTDkO")}
OWN = (Rule(allow="publish", topic="sensors/%u/temperature"),)
ASKS = TLS(certificate="a.pem", key="b.pem", client_ca="c.pem")
NOTHING = ""


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "try:  gateway send mqtt sensors/1/temperature 21.5"),
        ({"users": KITCHEN}, "try:  gateway send mqtt sensors/1/temperature 21.5 --username kitchen"),
        ({"users": KITCHEN, "anonymous": True}, "try:  gateway send mqtt sensors/1/temperature 21.5"),
        ({"users": KITCHEN, "acl": OWN}, "try:  gateway send mqtt sensors/kitchen/temperature 21.5 --username kitchen"),
        ({"users": KITCHEN, "acl": (Rule(allow="subscribe", topic="#"),)}, NOTHING),
        ({"password_file": "mqtt.users"}, NOTHING),
        ({"tls": ASKS}, NOTHING),
        ({"bind": "127.0.0.1:0"}, NOTHING),
        ({"bind": "unix:/run/mqtt"}, NOTHING),
    ],
)
async def test_a_publication(settings: dict[str, Any], line: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mqtt.users").touch()
    server = MQTTServer(APP, given := MQTTSettings(**settings), name="devices")
    assert try_line([server], {"devices": given}, APP, "gateway") == line


@pytest.mark.parametrize(
    ("settings", "line"),
    [({}, "try:  gateway send email help@example.org 'Hello'"), ({"protocol": "lmtp"}, NOTHING)],
)
async def test_a_mail(settings: dict[str, Any], line: str) -> None:
    server = SMTPServer(APP, given := SMTPSettings(**settings), name="mail")
    assert try_line([server], {"mail": given}, APP, "gateway") == line


def test_what_is_pasted_asks_for_the_password_and_is_acknowledged(tmp_path: Path) -> None:
    (tmp_path / "try_handlers.py").write_text(HANDLERS)
    (tmp_path / "gateway.yaml").write_text(FILE.format(port=free_port(), hash=hash_password(b"secret-kitchen")))
    daemon = Daemon(tmp_path)
    try:
        daemon.says("try:")
        _, arguments = daemon.lines[-1].split("gateway send ")
        terminal = Terminal([sys.executable, "-m", "gateway", "send", *arguments.split()], tmp_path)
        terminal.answer(b"Password of kitchen: ", b"secret-kitchen")
        assert terminal.result() == "acknowledged"
        daemon.says("got sensors/kitchen/temperature 21.5")
    finally:
        daemon.close()
