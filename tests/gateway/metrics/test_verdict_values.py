"""What may come of a run: each verdict of each scope type, from what a real client and its handler do."""

import contextlib
import smtplib
from collections.abc import Iterator

import httpx
import pytest
from mqtt_raw import connect as hello
from servers.measured import Measured
from servers.texts import webhook
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

LIMIT = 15.0
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", anonymous: true, connect_timeout: 500ms}
  mail: {protocol: smtp, bind: "127.0.0.1:PORT_mail"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret}
routes:
  {http: handlers.page, websocket: handlers.chat, mqtt: handlers.device, email: handlers.Desk, sms: handlers.Texts}
log: {level: error}
"""
HANDLERS = """
import asyncio
from gateway import AsyncEmailConsumer, AsyncSMSConsumer

async def page(scope, receive, send):
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await asyncio.sleep(float(scope["query_string"] or b"0"))
    await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})
    await send({"type": "http.response.body"})

async def chat(scope, receive, send):
    doing = scope["path"][1:]
    await receive()
    if doing == "wait":
        await receive()
        return
    if doing in ("403", "503"):
        await send({"type": "websocket.http.response.start", "status": int(doing), "headers": []})
        await send({"type": "websocket.http.response.body"})
        return
    await send({"type": "websocket.accept"})
    await receive()
    if doing == "fail":
        raise RuntimeError("it never works")

async def device(scope, receive, send):
    doing = scope["client_id"]
    await receive()
    if doing == "reject":
        await send({"type": "mqtt.reject", "reason_code": 0x87})
        return
    if doing == "silent":
        await asyncio.sleep(600)
    if doing == "fail":
        raise RuntimeError("it never works")
    await send({"type": "mqtt.accept"})
    await receive()

class Desk(AsyncEmailConsumer):
    async def receive(self, message):
        await verdict(self, message["subject"])

class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        if text.startswith("reply"):
            await self.reply(text.removeprefix("reply"))
        elif text == "deferred":
            await self.defer()
        else:
            await verdict(self, text)

async def verdict(consumer, doing):
    if doing == "rejected":
        await consumer.reject("no")
    if doing == "deferred":
        await consumer.defer("later")
    if doing == "failed":
        raise RuntimeError("it never works")
"""
VERDICTS = ("accepted", "rejected", "deferred", "failed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    running = Measured(tmp_path_factory.mktemp("site"), FILE, HANDLERS)
    yield running
    running.close()


def counted(site: Measured, server: str, kind: str, route: str, verdict: str) -> None:
    """Wait until two runs have ended so."""
    site.becomes(2, "gateway_runs_total", server=server, type=kind, route=f"{kind} -> {route}", verdict=verdict)


@pytest.mark.parametrize("status", [200, 302, 404, 503])
def test_a_request(site: Measured, status: int) -> None:
    for _ in range(2):
        assert httpx.get(site.url("web", f"/{status}"), timeout=LIMIT).status_code == status
    counted(site, "web", "http", "handlers.page", f"{status // 100}xx")


def test_a_client_that_leaves_before_the_response(site: Measured) -> None:
    for _ in range(2):
        with site.dial("web", b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"):
            site.becomes(1, "gateway_in_flight", server="web", type="http")
        site.becomes(0, "gateway_in_flight", server="web", type="http")
    counted(site, "web", "http", "handlers.page", "client left")


@pytest.mark.parametrize(
    ("doing", "verdict"), [("talk", "accepted"), ("fail", "failed"), ("403", "4xx"), ("503", "5xx")]
)
def test_a_websocket(site: Measured, doing: str, verdict: str) -> None:
    for _ in range(2):
        with (
            contextlib.suppress(WebSocketException),
            connect(f"ws://127.0.0.1:{site.port['web']}/{doing}", open_timeout=LIMIT) as client,
        ):
            client.send("hello")
            client.recv(LIMIT)
    counted(site, "web", "websocket", "handlers.chat", verdict)


def test_a_client_that_leaves_within_the_handshake_of_a_websocket(site: Measured) -> None:
    asks = b"GET /wait HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    asks += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    for _ in range(2):
        with site.dial("web", asks):
            site.becomes(1, "gateway_in_flight", server="web", type="websocket")
        site.becomes(0, "gateway_in_flight", server="web", type="websocket")
    counted(site, "web", "websocket", "handlers.chat", "client left")


@pytest.mark.parametrize(
    ("doing", "verdict"),
    [("stay", "accepted"), ("reject", "rejected"), ("silent", "unanswered"), ("fail", "failed")],
)
def test_a_device(site: Measured, doing: str, verdict: str) -> None:
    for _ in range(2):
        with site.dial("devices", hello(5, doing)) as peer:
            peer.recv(100)
    counted(site, "devices", "mqtt", "handlers.device", verdict)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_mail(site: Measured, verdict: str) -> None:
    for _ in range(2):
        with (
            smtplib.SMTP("127.0.0.1", site.port["mail"], timeout=LIMIT) as client,
            contextlib.suppress(smtplib.SMTPException),
        ):
            client.sendmail("a@example.net", ["b@example.org"], f"Subject: {verdict}\r\n\r\nhello\r\n".encode())
    counted(site, "mail", "email", "handlers.Desk", verdict)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_text(site: Measured, verdict: str) -> None:
    for number in range(2):
        body, headers = webhook(verdict, f"{verdict}{number}")
        httpx.post(site.url("web", "/hooks/sms"), content=body, headers=headers, timeout=LIMIT)
    counted(site, "texts", "sms", "handlers.Texts", verdict)


@pytest.mark.parametrize(
    ("reason", "sender", "texts", "prevented"),
    [
        ("own_number", "+447700900999", ["reply a"], 1),
        ("alphanumeric", "HDFCBK", ["reply a"], 1),
        ("same_answer", "+447700900124", ["reply a"] * 5, 2),
        ("rate", "+447700900125", [f"reply {number}" for number in range(21)], 1),
        ("opt", "+447700900126", ["reply a"], 0),
    ],
)
def test_answers_to_texts_that_are_not_sent(
    site: Measured, reason: str, sender: str, texts: list[str], prevented: int
) -> None:
    for number, text in enumerate(texts):
        body, headers = webhook(text, f"{reason}{number}", sender=sender)
        answer = httpx.post(site.url("web", "/hooks/sms"), content=body, headers=headers, timeout=LIMIT)
        assert len(answer.json()["replies"]) == (number < len(texts) - prevented)
    site.becomes(prevented, "gateway_sms_answers_prevented_total", reason=reason)


def test_how_long_requests_take(site: Measured) -> None:
    place = {"server": "web", "type": "http", "route": "http -> handlers.page"}
    name = "gateway_run_duration_seconds"
    count, total = site.number(f"{name}_count", **place), site.number(f"{name}_sum", **place)
    quick = site.number(f"{name}_bucket", **place, le="0.25")
    for _ in range(3):
        httpx.get(site.url("web", "/200?0.3"), timeout=LIMIT)
    site.becomes(count + 3, f"{name}_count", **place)
    assert site.number(f"{name}_bucket", **place, le="0.25") == quick, "all three took longer"
    assert total + 0.9 <= site.number(f"{name}_sum", **place) < total + 60
