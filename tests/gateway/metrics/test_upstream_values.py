"""Clients of a broker and of a mailbox, while Mosquitto and Dovecot go away and come back."""

import time
from pathlib import Path

from servers.dovecot import PASSWORD, USER, Dovecot, dovecot
from servers.measured import Measured
from servers.mosquitto import mosquitto
from servers.site import until

HANDLERS = """
import asyncio
from pathlib import Path
from gateway import AsyncEmailConsumer, AsyncMqttConsumer

class Machine(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        while payload == b"slow" and not Path("go").exists():
            await asyncio.sleep(0.02)

class Desk(AsyncEmailConsumer):
    async def receive(self, message):
        if message["subject"] == "later":
            await self.defer("later")
        while message["subject"] == "slow" and not Path("go").exists():
            await asyncio.sleep(0.02)
"""


def is_ready(site: Measured, server: str, protocol: str, *, ready: bool, times: int) -> float:
    """Wait until the server is in this state. Return since when it is, in Unix time."""
    site.becomes(float(ready), "gateway_server_ready", server=server, protocol=protocol)
    assert site.number("gateway_server_became_ready_total", server=server) == times
    since = site.number("gateway_server_state_timestamp_seconds", server=server)
    assert time.time() - 120 < since < time.time() + 1
    return since


def test_a_broker_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    file = """
servers: {plant: {protocol: mqtt-client, url: "URL", subscribe: ["#"]}}
routes: {mqtt: handlers.Machine}
"""
    with mosquitto() as broker:
        site = Measured(tmp_path, file.replace("URL", broker.url), HANDLERS)
        try:
            began = is_ready(site, "plant", "mqtt-client", ready=True, times=1)
            for _ in range(3):
                broker.publish("a", "x", "-q", "1")
            site.becomes(3 + 1, "gateway_connection_events_total", server="plant", type="mqtt")
            assert site.number("gateway_in_flight", server="plant", type="mqtt") == 0
            broker.publish("a", "slow", "-q", "1")
            site.becomes(1, "gateway_in_flight", server="plant", type="mqtt")
            (tmp_path / "go").touch()
            site.becomes(0, "gateway_in_flight", server="plant", type="mqtt")
            broker.stop()
            left = is_ready(site, "plant", "mqtt-client", ready=False, times=1)
            broker.start()
            back = is_ready(site, "plant", "mqtt-client", ready=True, times=2)
            assert began < left < back
        finally:
            site.close()


def mail(subject: str) -> bytes:
    return f"From: ann@example.net\r\nTo: {USER}\r\nSubject: {subject}\r\n\r\nHello\r\n".encode()


FILE = """
servers:
  support: {protocol: imap, host: 127.0.0.1, port: PORT_imap, tls: false, username: USER, password: PASSWORD}
routes: {email: handlers.Desk}
"""


def of_mailbox(folder: Path, server: Dovecot) -> Measured:
    text = FILE.replace("PORT_imap", str(server.port)).replace("USER", USER).replace("PASSWORD", PASSWORD)
    return Measured(folder, text, HANDLERS)


def test_a_mail_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with dovecot() as server:
        site = of_mailbox(tmp_path, server)
        try:
            is_ready(site, "support", "imap", ready=True, times=1)
            assert site.number("gateway_mailbox_folders", server="support") == 1
            assert site.number("gateway_mailbox_folders_ready", server="support") == 1
            checked = site.number("gateway_mailbox_checked_timestamp_seconds", server="support")
            server.append(mail("hello"))
            until(
                lambda: site.number("gateway_mailbox_checked_timestamp_seconds", server="support") > checked, "a check"
            )
            server.kill()
            is_ready(site, "support", "imap", ready=False, times=1)
            site.becomes(0, "gateway_mailbox_folders_ready", server="support")
            assert site.number("gateway_mailbox_folders", server="support") == 1
            stays = site.number("gateway_mailbox_checked_timestamp_seconds", server="support")
            assert checked < stays <= time.time()
            server.start()
            is_ready(site, "support", "imap", ready=True, times=2)
            site.becomes(1, "gateway_mailbox_folders_ready", server="support")
        finally:
            site.close()


def test_mails_that_wait_in_their_folder(tmp_path: Path) -> None:
    with dovecot() as server:
        server.append(*[mail("slow")] * 40)
        site = of_mailbox(tmp_path, server)
        try:
            site.becomes(39, "gateway_mailbox_backlog_messages", server="support")
            assert site.number("gateway_in_flight", server="support", type="email") == 1, "the other is at work"
            (tmp_path / "go").touch()
            site.becomes(0, "gateway_mailbox_backlog_messages", server="support")
            assert site.number("gateway_mailbox_deferred_messages", server="support") == 0
            server.append(mail("later"), mail("later"))
            site.becomes(2, "gateway_mailbox_deferred_messages", server="support")
        finally:
            site.close()
