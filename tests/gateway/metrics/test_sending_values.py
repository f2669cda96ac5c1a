"""What leaves: mail by a submission server that says what a test wants, messages by Mosquitto; from the outbox."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from servers import command
from servers.measured import Measured
from servers.mosquitto import mosquitto
from servers.submission import Peer, peer

LIMIT = 15.0
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
  texts: {protocol: sms, provider: generic, on: web, path: /sms, secret: s, number: Shop, send_url: "file:texts"}
routes: {http: handlers.page, sms: handlers.page}
submission: {url: "smtp://ADDRESS"}
store: sqlite:gateway.db
log: {level: error}
"""
HANDLERS = """
import gateway.aio

async def page(scope, receive, send):
    if scope["path"] == "/publish":
        await gateway.aio.publish("lamps/1", "on", qos=1)
    elif scope["path"] == "/text":
        await gateway.aio.send_text("+447700900123", "x" * 161)
    else:
        to = scope["path"][1:] + "@example.net"
        await gateway.aio.send_mail(to, subject="Hello", text="Hello", from_="us@example.org")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""
STATES = ("waiting", "leaving", "dead")


@pytest.fixture
def server() -> Iterator[Peer]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(peer()) as served:
        yield served


@pytest.fixture
def site(tmp_path: Path, server: Peer) -> Iterator[Measured]:
    with closing(Measured(tmp_path, FILE.replace("ADDRESS", server.address), HANDLERS)) as site:
        yield site


def ask(site: Measured, path: str) -> None:
    assert httpx.get(site.url("web", f"/{path}"), timeout=LIMIT).status_code == 200


def has(site: Measured, lane: str, state: str) -> None:
    """Wait until the lane has one message, in this state."""
    for each in STATES:
        site.becomes(float(each == state), "gateway_outgoing_messages", lane=lane, state=each)


def retry(site: Measured) -> None:
    done = command.run(site.folder, "outgoing", "retry", "--all")
    assert done.returncode == 0, done.stderr


def tried(site: Measured, kind: str, **expected: int) -> None:
    """Wait until tries to send have had these results, and no other."""
    for result in ("sent", "retried", "refused", "dead"):
        site.becomes(expected.get(result, 0), "gateway_outgoing_attempts_total", type=kind, result=result)


def test_mail_that_is_sent_and_mail_that_is_refused(site: Measured, server: Peer) -> None:
    server.answers["no@example.net"] = "550 5.1.1 no such user"
    for who in ("yes", "yes", "no"):
        ask(site, who)
    tried(site, "email", sent=2, dead=1)
    site.becomes(2, "gateway_submission_mails_total", result="sent")
    site.becomes(1, "gateway_submission_mails_total", result="refused")
    has(site, "email", "dead")
    assert site.number("gateway_submission_up") == 1


def test_an_account_that_is_refused_and_repaired(site: Measured, server: Peer) -> None:
    began = site.number("gateway_submission_state_timestamp_seconds")
    server.answers["MAIL"] = "530 5.7.0 log in"
    ask(site, "yes")
    tried(site, "email", refused=1)
    site.becomes(1, "gateway_submission_mails_total", result="account_refused")
    site.becomes(0, "gateway_submission_up")
    site.becomes(1, "gateway_outgoing_lanes_resting")
    has(site, "email", "waiting")
    refused = site.number("gateway_submission_state_timestamp_seconds")
    assert began < refused < time.time() + 1
    del server.answers["MAIL"]
    retry(site)
    site.becomes(1, "gateway_submission_up")
    site.becomes(0, "gateway_outgoing_lanes_resting")
    tried(site, "email", refused=1, sent=1)
    assert site.number("gateway_submission_state_timestamp_seconds") > refused


def test_a_server_that_asks_for_another_try(site: Measured, server: Peer) -> None:
    server.answers["MAIL"] = "451 4.3.0 later"
    ask(site, "yes")
    tried(site, "email", retried=1)
    site.becomes(1, "gateway_submission_mails_total", result="failed")
    site.becomes(0, "gateway_submission_up")
    has(site, "email", "waiting")
    assert site.number("gateway_outgoing_lanes_resting") == 0


def test_a_mail_on_its_way(site: Measured, server: Peer) -> None:
    server.answers["content"] = "hold"
    ask(site, "yes")
    has(site, "email", "leaving")
    assert site.number("gateway_submission_mails_total", result="sent") == 0


def test_a_message_for_a_broker_that_is_away(tmp_path: Path) -> None:
    """Mail and messages wait in lanes of their own."""
    file = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
  plant: {protocol: mqtt-client, url: "URL", subscribe: ["#"], retry_max: 1s}
routes: {http: handlers.page, mqtt: []}
submission: {url: "smtp://127.0.0.1:PORT_nobody"}
store: sqlite:gateway.db
log: {level: error}
"""
    with mosquitto() as broker, closing(Measured(tmp_path, file.replace("URL", broker.url), HANDLERS)) as site:
        ask(site, "publish")
        tried(site, "mqtt", sent=1)
        broker.stop()
        site.becomes(0, "gateway_server_ready", server="plant", protocol="mqtt-client")
        ask(site, "publish")
        ask(site, "yes")
        has(site, "mqtt plant", "waiting")
        has(site, "email", "waiting")
        broker.start()
        retry(site)
        tried_again = site.number("gateway_outgoing_attempts_total", type="mqtt", result="retried")
        tried(site, "mqtt", sent=2, retried=int(tried_again))


def test_the_segments_of_a_text(site: Measured) -> None:
    ask(site, "text")
    site.becomes(2, "gateway_sms_segments_sent_total", server="texts")
    tried(site, "sms", sent=1)
