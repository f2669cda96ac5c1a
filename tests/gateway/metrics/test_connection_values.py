"""Connections, as a scrape shows them: who is let in, who is refused and why, handshakes, bytes, logins."""

import base64
import contextlib
import smtplib
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from mqtt_bytes import connect, string
from servers.certificates import make
from servers.measured import Measured

from protocols.access.users import hash_password
from protocols.net.connection_counters import HANDSHAKES, REFUSALS

LIMIT = 15.0
PROXIED = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"
FILE = """
servers:
  few: {protocol: http, bind: "127.0.0.1:PORT_few", max_connections: 1}
  each: {protocol: http, bind: "127.0.0.1:PORT_each", max_per_address: 1}
  often: {protocol: smtp, bind: "127.0.0.1:PORT_often", max_connection_rate: 1, proxy_protocol: [127.0.0.1]}
  proxied: {protocol: smtp, bind: "127.0.0.1:PORT_proxied", proxy_protocol: [127.0.0.1]}
  secure: {protocol: http, bind: "127.0.0.1:PORT_secure", tls: {certificate: tls.pem, key: tls.key}}
  hasty: {protocol: http, bind: "127.0.0.1:PORT_hasty",
    tls: {certificate: tls.pem, key: tls.key, handshake_timeout: 300ms}}
  web: {protocol: http, bind: "127.0.0.1:PORT_web"}
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", users: {ann: "HASHED"}}
  mail: {protocol: smtp, bind: "127.0.0.1:PORT_mail", users: {ann: "HASHED"}}
routes:
  http: handlers.page
  mqtt: handlers.device
  email: handlers.page
log: {level: error}
"""
HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def device(scope, receive, send):
    await receive()
    await send({"type": "mqtt.accept"})
    await receive()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    folder = tmp_path_factory.mktemp("site")
    make(folder, "tls")
    running = Measured(folder, FILE.replace("HASHED", hash_password(b"right")), HANDLERS)
    yield running
    running.close()


@pytest.mark.parametrize(
    ("server", "said", "taken", "reason"),
    [
        ("few", b"", 1, "limit"),
        ("each", b"", 1, "address_limit"),
        ("often", PROXIED, 1, "address_rate"),
        ("proxied", b"EHLO proxy\r\n", 0, "proxy_header"),
    ],
)
def test_a_connection_that_is_refused(site: Measured, server: str, said: bytes, taken: int, reason: str) -> None:
    with ExitStack() as dialled:
        for _ in range(taken):
            dialled.enter_context(site.dial(server, said))
        site.becomes(taken, "gateway_connections_accepted_total", server=server)
        dialled.enter_context(site.dial(server, said))
        site.becomes(1, "gateway_connections_refused_total", server=server, reason=reason)
        assert site.number("gateway_connections", server=server) == taken
    site.becomes(0, "gateway_connections", server=server)
    for other in set(REFUSALS) - {reason}:
        assert site.number("gateway_connections_refused_total", server=server, reason=other) == 0


def friend() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shake_hands(site: Measured, server: str, end: str, context: ssl.SSLContext) -> None:
    """Make a handshake end so."""
    with site.dial(server) as peer, contextlib.suppress(ssl.SSLError):
        if end in ("completed", "failed"):  # a client that does not trust the certificate says so
            context.wrap_socket(peer, server_hostname="localhost").close()
        elif end == "not_tls":
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            peer.recv(1)
        elif end == "timeout":
            peer.recv(1)
        else:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("end", HANDSHAKES)
def test_the_end_of_a_handshake(site: Measured, end: str) -> None:
    server = "hasty" if end == "timeout" else "secure"
    context = friend() if end == "completed" else ssl.create_default_context()
    before = {each: site.number("gateway_tls_handshakes_total", server=server, result=each) for each in HANDSHAKES}
    accepted = site.number("gateway_connections_accepted_total", server=server)
    for _ in range(2):
        shake_hands(site, server, end, context)
    site.becomes(before[end] + 2, "gateway_tls_handshakes_total", server=server, result=end)
    for each in set(HANDSHAKES) - {end}:
        assert site.number("gateway_tls_handshakes_total", server=server, result=each) == before[each]
    taken = site.number("gateway_connections_accepted_total", server=server) - accepted
    assert taken == (2 if end == "completed" else 0)


def test_each_byte_of_a_request_and_its_response(site: Measured) -> None:
    asked = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    received, sent = (site.number(f"gateway_{each}_bytes_total", server="web") for each in ("received", "sent"))
    answer = b""
    with site.dial("web", asked) as peer:
        while part := peer.recv(65536):
            answer += part
    assert answer.endswith(b"hello")
    site.becomes(received + len(asked), "gateway_received_bytes_total", server="web")
    site.becomes(sent + len(answer), "gateway_sent_bytes_total", server="web")


def log_in(site: Measured, password: str) -> int:
    """The answer to ann's login."""
    with smtplib.SMTP("127.0.0.1", site.port["mail"], timeout=LIMIT) as client:
        client.ehlo()
        plain = base64.b64encode(f"\0ann\0{password}".encode()).decode()
        return client.docmd("AUTH", f"PLAIN {plain}")[0]


def test_right_and_wrong_logins(site: Measured) -> None:
    assert (log_in(site, "right"), log_in(site, "wrong")) == (235, 535)
    for outcome in ("right", "wrong"):
        site.becomes(1, "gateway_logins_total", server="mail", outcome=outcome)
    assert site.number("gateway_refusals_total", server="mail", reason="535") == 1


def login(client_id: str, password: bytes) -> bytes:
    """The CONNECT of a device of MQTT 3.1.1 that logs in as ann."""
    return connect(4, 0xC2, string(client_id), string("ann"), string(password))


def test_logins_of_devices_with_more_long_passwords_than_may_wait(site: Measured) -> None:
    with ExitStack() as dialled:
        for number in range(100):
            dialled.enter_context(site.dial("devices", login(f"c{number}", b"%04d" % number * 500)))
        site.passes(1, "gateway_logins_total", server="devices", outcome="busy")
        site.passes(1, "gateway_refusals_total", server="devices", reason="0x89")
    assert site.number("gateway_logins_total", server="devices", outcome="right") == 0


def test_a_login_that_there_is_no_memory_to_check(tmp_path: Path) -> None:
    """The hash of its password takes 4 GiB, and the process may have 3."""
    costly = f"$argon2id$v=19$m={4 * 1024**2},t=1,p=1$c29tZXNhbHRzb21lc2FsdA${'A' * 43}"
    file = """
servers:
  mail: {protocol: smtp, bind: "127.0.0.1:PORT_mail", users: {ann: "HASHED"}}
  devices: {protocol: mqtt, bind: "127.0.0.1:PORT_devices", users: {ann: "HASHED"}}
routes: {email: handlers.page, mqtt: handlers.device}
"""
    site = Measured(tmp_path, file.replace("HASHED", costly), HANDLERS, under=("prlimit", f"--as={3 * 1024**3}"))
    try:
        assert log_in(site, "right") == 454
        site.becomes(1, "gateway_logins_total", server="mail", outcome="unavailable")
        assert site.number("gateway_refusals_total", server="mail", reason="454") == 1
        with site.dial("devices", login("c", b"right")):
            site.becomes(1, "gateway_logins_total", server="devices", outcome="unavailable")
            site.becomes(1, "gateway_refusals_total", server="devices", reason="0x88")
    finally:
        site.close()


def test_a_process_that_is_short_of_descriptors(tmp_path: Path) -> None:
    """The console answers all the time: it may use the last of them."""
    file = 'servers: {web: {protocol: http, bind: "127.0.0.1:PORT_web"}}\nroutes: {http: handlers.page}'
    site = Measured(tmp_path, file, HANDLERS, under=("prlimit", "--nofile=90:90"))
    try:
        assert site.number("gateway_accept_pauses_total", server="web") == 0
        assert site.number("process_max_fds") == 90
        with ExitStack() as dialled:
            for _ in range(90):
                dialled.enter_context(site.dial("web"))
            site.becomes(1, "gateway_accept_paused", server="web")
            assert site.number("gateway_accept_pauses_total", server="web") >= 1
            assert site.number("process_open_fds") > 60
            assert site.number("gateway_connections", server="web") < 90
        site.becomes(0, "gateway_accept_paused", server="web")
        site.becomes(90, "gateway_connections_accepted_total", server="web")
        assert httpx.get(site.url("web"), timeout=LIMIT).text == "hello"
    finally:
        site.close()
