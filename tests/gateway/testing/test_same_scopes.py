"""A communicator's scope is what a real server makes of a real client's message: the same keys, the same values where
the message is the same."""

import smtplib
from asyncio import to_thread
from typing import Any

import aiohttp
import paho.mqtt.client as paho
import pytest
from waiting import until

from gateway.testing import (
    EmailCommunicator,
    HttpCommunicator,
    MqttCommunicator,
    SMSCommunicator,
    WebsocketCommunicator,
)
from protocols import (
    GenericSettings,
    HTTPServer,
    HTTPSettings,
    MQTTServer,
    MQTTSettings,
    SMSWebhook,
    SMTPServer,
    SMTPSettings,
)

OF_THE_CLIENT = {
    "client",
    "server",
    "headers",
    "helo",
    "received_at",
    "message_id",
    "size",
    "extensions",
    "keepalive",
    "properties",
}
"""Keys whose values depend on the client, or on the moment."""


class Seen:
    """An application that keeps its last scope and answers shortly."""

    scope: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # ASGI's way to say that an application has no lifespan
        self.scope = scope
        await receive()
        answers: Any = {
            "http": [{"type": "http.response.start", "status": 204}, {"type": "http.response.body"}],
            "websocket": [{"type": "websocket.close"}],
            "mqtt": [{"type": "mqtt.reject"}],
        }
        for event in answers.get(scope["type"], []):
            await send(event)


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    assert {key: type(value) for key, value in one.items()} == {key: type(value) for key, value in other.items()}
    for key in one.keys() - OF_THE_CLIENT:
        assert one[key] == other[key], key
    assert one["extensions"].keys() == other["extensions"].keys()


async def test_http_and_websocket() -> None:
    seen = Seen()
    async with HTTPServer(seen, HTTPSettings(bind="127.0.0.1:0")) as server, aiohttp.ClientSession() as client:
        url = f"http://{server.address}/caf%C3%A9/a%2Fb?x=%20&y"
        async with client.get(url, headers={"X-A": "1"}):
            pass
        same(HttpCommunicator(seen, "GET", "/caf%C3%A9/a%2Fb?x=%20&y", headers={"X-A": "1"}).scope, seen.scope)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect(url, protocols=["a", "b"])
        same(WebsocketCommunicator(seen, "/caf%C3%A9/a%2Fb?x=%20&y", subprotocols=["a", "b"]).scope, seen.scope)
        assert seen.scope["subprotocols"] == ["a", "b"]


async def test_email() -> None:
    seen = Seen()
    mail = EmailCommunicator(seen, "Help <help+7@example.org>", subject="Hello", text="It burns.", listener="smtp")

    def send(address: str) -> None:
        with smtplib.SMTP(*address.split(":")) as client:
            client.sendmail("ann@example.net", "help+7@example.org", mail.body)

    async with SMTPServer(seen, SMTPSettings(bind="127.0.0.1:0")) as server:
        await to_thread(send, server.address)
    same(mail.scope, seen.scope)
    assert set(mail.scope["headers"]) < set(seen.scope["headers"]), "the server adds Received"


async def test_mqtt() -> None:
    seen = Seen()
    async with MQTTServer(seen, MQTTSettings(bind="127.0.0.1:0")) as server:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, "k1", protocol=paho.MQTTv5)
        client.username_pw_set("ann", "secret")
        host, port = server.address.split(":")
        await to_thread(client.connect, host, int(port))
        await until(lambda: hasattr(seen, "scope"))
        client.disconnect()
    same(MqttCommunicator(seen, "k1", username="ann").scope, seen.scope)


async def test_sms() -> None:
    seen = Seen()
    settings = GenericSettings(on="web", path="/hook", insecure=True)
    async with SMSWebhook(seen, settings) as webhook:
        text = {"from": "+442079460123", "to": "+447700900999", "id": "m1", "text": "hello"}
        response = await HttpCommunicator(webhook, "POST", "/hook", json=text).get_response()
        assert response.status < 300
    same(
        SMSCommunicator(seen, "hello", "+442079460123", message_id="m1", fields=seen.scope["fields"]).scope, seen.scope
    )
