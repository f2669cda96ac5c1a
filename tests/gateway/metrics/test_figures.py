"""What a gateway counts at its sources, as a scrape shows it after real clients have come."""

import contextlib
import signal
import smtplib
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from servers.metrics_site import WholeSite
from servers.programs import program
from servers.prometheus import lint
from servers.site import until

from gateway.metrics.reader import SUCCESS
from gateway.metrics.readers.protocols import FIGURES
from gateway.metrics.table import FAMILIES, READERS
from protocols.mail.imap.reader import IMAPReader
from protocols.mail.imap.settings import IMAPSettings
from protocols.mail.smtp.server import SMTPServer
from protocols.mail.smtp.settings import SMTPSettings
from protocols.mqtt import MQTTServer, MQTTSettings
from protocols.secret import Secret
from protocols.server import Server
from protocols.sms import GenericSettings, SMSWebhook

EMPTY = {
    *("gateway_store_oldest_message_timestamp_seconds", "gateway_outgoing_messages"),
    *("gateway_routed_messages_total", "gateway_routed_message_answers_total"),
    *("gateway_routed_message_duration_seconds", "gateway_tracing_spans_total"),
    "gateway_channel_messages_total",
    *("gateway_layer_connected", "gateway_layer_interruptions_total", "gateway_layer_messages_missed_total"),
    "gateway_sms_segments_sent_total",
}
"""Families that have no series before there is such a message, or because no `topic` route, no `tracing`, no
ChannelNameRouter, no layer outside of the process and no sms server is in this file."""
LIMIT = 10.0
STORED = {"type": "mqtt", "route": "mqtt -> handlers.Device"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeSite]:
    running = WholeSite(tmp_path_factory.mktemp("site"))
    yield running
    running.close()


def test_every_family_has_its_known_series_from_the_start(site: WholeSite) -> None:
    told = {name.removesuffix("_count") for name, _ in site.scrape()}
    assert FAMILIES.keys() - told == EMPTY
    for reader in READERS:
        assert site.value(SUCCESS.name, reader=reader.name) == 1.0


def test_promtool_has_nothing_to_say(site: WholeSite) -> None:
    assert lint(httpx.get(f"http://{site.console}/metrics", timeout=LIMIT).text) == ""


def test_a_request_to_a_sync_handler(site: WholeSite) -> None:
    assert httpx.get(f"http://127.0.0.1:{site.port['web']}/", timeout=LIMIT).text == "hello"
    told = site.scrape()
    web = frozenset({("server", "web")})
    assert told["gateway_connections_accepted_total", web] >= 1
    assert told["gateway_received_bytes_total", web] > 50
    assert told["gateway_sent_bytes_total", web] > 50
    assert told["gateway_threads_wait_seconds_count", frozenset()] >= 1


def test_open_connections(site: WholeSite) -> None:
    with site.dial("web"), site.dial("web"):
        site.becomes(2, "gateway_connections", server="web")
    site.becomes(0, "gateway_connections", server="web")


def test_handshakes(site: WholeSite) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with site.dial("secure") as raw, context.wrap_socket(raw):
        site.becomes(1, "gateway_tls_handshakes_total", server="secure", result="completed")
    with site.dial("secure") as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
        site.becomes(1, "gateway_tls_handshakes_total", server="secure", result="not_tls")


@pytest.mark.parametrize(
    ("server", "use"),
    [("secure", "server"), ("guarded", "client_ca"), ("plant", "client"), ("submission", "ca")],
)
def test_a_certificate_that_lives_for_two_days(site: WholeSite, server: str, use: str) -> None:
    """One that a server presents, one that a client presents, and one that a client trusts."""
    expiry = site.value("gateway_certificate_expiry_timestamp_seconds", server=server, use=use)
    listed = httpx.get(f"http://{site.console}/api/certificates", timeout=LIMIT).json()["certificates"]
    assert {"server": server, "use": use, "expires": expiry} in listed
    assert expiry is not None
    assert 86400 < expiry - time.time() < 3 * 86400


def test_mail_and_a_login_that_fails(site: WholeSite) -> None:
    with smtplib.SMTP("127.0.0.1", site.port["mail"], timeout=LIMIT) as client:
        client.sendmail("a@example.org", ["b@example.org"], b"Subject: x\r\n\r\nhello\r\n")
        with contextlib.suppress(smtplib.SMTPException):
            client.login("ann", "wrong")
    wrong = ("gateway_logins_total", frozenset({("server", "mail"), ("outcome", "wrong")}))
    until(lambda: site.scrape()[wrong] >= 1, "a wrong login")  # smtplib tries each mechanism
    assert (site.value("gateway_sent_bytes_total", server="mail") or 0) > 50


def test_a_message_whose_handler_fails_is_dead(site: WholeSite) -> None:
    command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(site.port["devices"]), "-t", "t", "-m", "x"]
    subprocess.run([*command, "-q", "1"], check=True, timeout=LIMIT, capture_output=True)
    site.becomes(1, "gateway_deliveries_total", **STORED, verdict="dead")
    assert site.value("gateway_delivery_duration_seconds_count", **STORED) == 1
    assert site.value("gateway_deliveries_total", **STORED, verdict="done") == 0
    site.becomes(1, "gateway_store_messages", state="dead")
    assert (site.value("gateway_mqtt_packets_received_total", server="devices") or 0) >= 1
    assert (site.value("gateway_store_commit_calls_sum") or 0) >= 2


def test_upstreams_that_do_not_answer(site: WholeSite) -> None:
    for server, protocol in (("support", "imap"), ("plant", "mqtt-client")):
        assert site.value("gateway_server_ready", server=server, protocol=protocol) == 0.0
        assert site.value("gateway_server_became_ready_total", server=server) == 0.0
        since = site.value("gateway_server_state_timestamp_seconds", server=server)
        assert since is not None
        assert 0 <= time.time() - since < 600


def test_the_loop_is_asked_again_and_again(site: WholeSite) -> None:
    before = site.value("gateway_loop_delay_seconds_count") or 0
    until(lambda: (site.value("gateway_loop_delay_seconds_count") or 0) > before, "another sample")


def test_a_reload_that_is_refused_and_one_that_succeeds(site: WholeSite) -> None:
    """What is counted goes on: the store is the successor's, and its counters are counted once."""
    file, began = site.folder / "gateway.yaml", site.value("gateway_config_last_reload_success_timestamp_seconds")
    dead, accepted = (site.value("gateway_deliveries_total", **STORED, verdict="dead"), counted(site, "web"))
    right = file.read_text()
    file.write_text(right.replace("handlers.Page", "handlers.Nothing"))
    site.process.send_signal(signal.SIGHUP)
    site.becomes(0, "gateway_config_last_reload_successful")
    assert site.value("gateway_config_generation") == 1
    file.write_text(right.replace("attempts: 1", "attempts: 2"))
    site.process.send_signal(signal.SIGHUP)
    site.becomes(1, "gateway_config_last_reload_successful")
    site.becomes(2, "gateway_config_generation")
    assert (site.value("gateway_config_last_reload_success_timestamp_seconds") or 0) > (began or 0)
    assert (site.value("gateway_deliveries_total", **STORED, verdict="dead"), counted(site, "web")) == (dead, accepted)


def counted(site: WholeSite, server: str) -> float | None:
    return site.value("gateway_connections_accepted_total", server=server)


async def unused(scope: Any, receive: Any, send: Any) -> None: ...


def test_what_a_server_measures_has_its_family() -> None:
    """A figure without a family would be left out in silence, and a family without a figure never be there."""
    servers: list[Server] = [
        MQTTServer(None, MQTTSettings(bind="127.0.0.1:0")),
        SMTPServer(None, SMTPSettings(bind="127.0.0.1:0")),
        IMAPReader(None, IMAPSettings(host="imap.example.org", username="a", password=Secret("b"))),
        SMSWebhook(unused, GenericSettings(on="web", path="/", secret=Secret("a"))),
    ]
    figures = {f"gateway_{name}" for server in servers for name in server.figures()}
    assert figures == {family.name for family in FIGURES}
