"""No secret is in the log, whatever protocol it came by and whatever form the log has."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.dovecot import Dovecot, dovecot
from servers.every_protocol import EveryProtocol
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from servers.site import until

SECRET = b"hunter2Geheim"
HIDDEN = (SECRET, base64.b64encode(SECRET), base64.b64encode(b"ann:" + SECRET), base64.b64encode(b"\0ann\0" + SECRET))
"""The secret, and as it is sent. Each is looked for without its last characters, which may have been cut off."""
GIVEN = f"password: {SECRET.decode()}"
SERVERS = """\
  shut: {{protocol: imap, host: 127.0.0.1, port: {imap}, tls: false, username: ann, {given}}}
  other: {{protocol: mqtt-client, url: "{broker}", client_id: other, subscribe: ["x"], username: ann, {given}}}
"""
MORE = """
submission: {{url: "smtp://127.0.0.1:{closed}", username: ann, {given}}}
"""


def fields(value: bytes) -> list[bytes]:
    return [
        b"Authorization: Bearer " + value,
        b"Cookie: session=" + value,
        b"X-Api-Key: " + value,
        b"Referer: https://ann:%b@example.org/page?token=%b#%b" % (value, value, value),
        b"Sec-WebSocket-Protocol: bearer, " + value,
    ]


def use_secrets(site: EveryProtocol) -> None:
    basic = b"Authorization: Basic " + base64.b64encode(b"ann:" + SECRET)
    for path in (b"/ok", b"/crash", b"/refuse"):
        site.http(path + b"?token=" + SECRET, *fields(SECRET))
        site.http(path, basic, method=b"POST", body=b"password=" + SECRET)
        site.http(b"http://ann:%b@x%b?token=%b" % (SECRET, path, SECRET))
        site.websocket(path + b"?token=" + SECRET, *fields(SECRET), said=b"hello " + path)
    site.http(b"/#" + SECRET)
    site.http(b"/x?token=%b HTTP/7.7 " % SECRET)
    site.http(b"/x", b"Authorization Bearer " + SECRET)
    site.http(b"/x", b"Authorization: Bearer \0" + SECRET)
    site.http(b"/x", b"Content-Length: " + SECRET)
    site.http(b"ann:%b@example.org:443" % SECRET, method=b"CONNECT")
    for version in (4, 5):
        for server in ("guarded", "devices"):
            logins = [(b"ann", SECRET), (SECRET, b"x"), (b"ann\0", SECRET)]
            for user, password in logins:
                site.mqtt(b"crash/t", user=user, password=password, version=version, server=server)
    plain, login = base64.b64encode(b"\0ann\0" + SECRET), base64.b64encode(SECRET)
    for server in ("mail", "login", "local"):
        hello = b"LHLO x" if server == "local" else b"EHLO x"
        site.smtp(hello, b"AUTH PLAIN " + plain, server=server)
        site.smtp(hello, b"AUTH PLAIN", plain, server=server)
        site.smtp(hello, b"AUTH LOGIN", base64.b64encode(b"ann"), login, server=server)
        site.smtp(hello, b"AUTH LOGIN " + login, login, server=server)
        site.smtp(hello, b"AUTH CRAM-MD5", login, server=server)
        site.smtp(hello, login, SECRET, server=server)
    for said in ("ok", "crash", "refuse"):
        site.sms("+447700900123", "+447700900999", said, f"id-{said}", *fields(SECRET))
    site.http(b"/hooks/sms?token=" + SECRET, b"X-Signature: " + SECRET, method=b"POST", body=b'{"text": "hi"}')


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Dovecot, Mosquitto, Mosquitto]]:
    with dovecot() as mailbox, mosquitto() as broker, mosquitto(users={"ann": "another"}) as guarded:
        yield mailbox, broker, guarded


def logged(peers: tuple[Dovecot, Mosquitto, Mosquitto], folder: Path, log: str, files: list[str]) -> bytes:
    """All that a gateway writes while secrets are used."""
    mailbox, broker, guarded = peers
    given = {"imap": mailbox.port, "broker": guarded.url, "closed": free_port(), "given": GIVEN}
    site = EveryProtocol(folder, mailbox, broker, log, "combined", SERVERS.format(**given), MORE.format(**given))

    def written() -> bytes:
        return b"".join((folder / name).read_bytes() for name in files if (folder / name).exists())

    def has(*words: bytes) -> Callable[[], bool]:
        return lambda: all(word in written() for word in words)

    try:
        with (folder / "stderr").open("wb") as stderr:
            site.start(stderr.fileno())
        until(lambda: site.broker(b"first") and b"first" in written(), lambda: repr(written()[-2000:]))
        use_secrets(site)
        until(
            has(b"wrong login as ann", b"no such page", b"no such order", b"no such word", b"no such device"), "crashes"
        )
        until(has(b"shut", b"other"), lambda: repr(written()[-3000:]))
        until(has(b"GET /ok HTTP", b"POST /hooks/sms HTTP"), lambda: repr(written()[-3000:]))
    finally:
        assert site.stop() == 0
    return written()


@pytest.mark.parametrize(
    ("log", "files"),
    [
        (
            "{arrivals: true, tracebacks: full, file: text.log, access_file: access.log}",
            ["text.log", "access.log", "stderr"],
        ),
        ("{arrivals: true, level: debug}", ["stderr"]),
        ("{arrivals: true, format: json}", ["stderr"]),
    ],
    ids=["text and combined", "debug", "json"],
)
def test_no_secret_is_in_the_log(
    peers: tuple[Dovecot, Mosquitto, Mosquitto], tmp_path: Path, log: str, files: list[str]
) -> None:
    written = logged(peers, tmp_path / "site", log, files)
    for line in written.splitlines():
        assert not [each for each in HIDDEN if each[:-4] in line], line
    if "json" in log:
        assert any("Traceback" in json.loads(line).get("traceback", "") for line in written.splitlines())
