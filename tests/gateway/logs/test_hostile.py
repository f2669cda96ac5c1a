"""What hostile peers write, over every protocol, into a log of every form: one event stays one line that no terminal
obeys and every parser reads."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from servers.dovecot import Dovecot, dovecot
from servers.every_protocol import EveryProtocol
from servers.mosquitto import Mosquitto, mosquitto
from servers.programs import program
from servers.site import until

from gateway.logs.fields import json_schema
from gateway.logs.formatters import LONGEST

FORGED = "\r\n2026-01-01T00:00:00.000+00:00 ERROR   forged"
ACTIVE = "\x1b[2J\x1b]0;owned\x07\x00\x08\x7f\x9b31m\u2028\u2029\u202e\u2066\ufeff\U000e0041"
INVALID = b"\xed\xa0\xbd\xff\xfe\x80"
"""A lone surrogate and bytes that are no UTF-8."""
LONG = b"l" * 65000
QUIET = "\u202emark\u2066\u200b"
"""What the protocols themselves allow."""
VALUES = [FORGED.encode(), ACTIVE.encode(), INVALID, LONG, QUIET.encode()]
MARKS = [
    "evil-http",
    "evil-ws",
    "evil-dev-4",
    "evil-dev-5",
    "evil-topic-4",
    "evil-topic-5",
    "evil-smtp",
    "evil-lmtp",
    "evil-imap",
    "evil-sms",
    "evil-broker",
]
"""What comes before a hostile value: there is a line for each of them, so that the log has been tried."""
COLOURS = re.compile(r"\x1b\[(?:0|2|31|32|33)m")
WHOLE_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d "
TIME_OF_DAY = r"\d\d:\d\d:\d\d\.\d{3} "


def escaped(value: bytes) -> bytes:
    """As a request target has it."""
    return b"".join(b"%%%02x" % each for each in value)


def attack(site: EveryProtocol) -> None:
    for number, value in enumerate(VALUES):
        site.http(b"/evil-http" + escaped(value)[:30000], b"User-Agent: evil-agent" + value)
        site.http(b"/evil-http-crash" + escaped(value)[:3000], b"Referer: http://x/" + value, b"X-Other: " + value)
        site.http(b"/raw" + value, b"Authorization: Basic " + value)
        site.http(b"/", method=b"GET" + value)
        site.websocket(b"/evil-ws" + escaped(value)[:30000], b"Sec-WebSocket-Protocol: chat, " + value, said=b"hi")
        site.websocket(b"/evil-ws", b"User-Agent: evil-agent" + value, said=b"crash " + value[:60000])
        for version in (4, 5):
            marked = {"client_id": b"evil-dev-%d" % version + value[:200], "version": version}
            site.mqtt(b"evil-topic-%d" % version + value, **marked)
            site.mqtt(b"crash" + value, **marked)
            site.mqtt(b"t", client_id=value, user=b"ann" + value, password=value, version=version, server="guarded")
        for server in ("mail", "local"):
            name = b"evil-smtp" if server == "mail" else b"evil-lmtp"
            site.mail(name + value + b"@example.net", b"help@example.org", value, helo=b"x", server=server)
            site.mail(name + b"@example.net", b'"help' + value + b'"@example.org', value, helo=value, server=server)
            site.mail(name + b"-crash@example.net", b"help@example.org", value, server=server)
            site.smtp(b"EHLO " + value, b"AUTH PLAIN " + value, b"AUTH LOGIN " + value, value, server=server)
        said = value.decode("utf-8", "surrogateescape")
        site.sms(f"evil-sms{said}", f"+4477{said}", said, f"a{number}{said}")
        site.sms("+447700900123", "+447700900999", f"crash {said}", f"b{number}", b"User-Agent: " + value)
        site.broker(b"evil-broker/" + value)
        site.broker(b"evil-broker/crash" + value)
        sender = b"evil-imap" + value.replace(b"\0", b"") + b"@example.net"
        site.mailbox(b"From: Ann <" + sender + b">\r\nSubject: " + value.replace(b"\0", b"") + b"\r\n\r\nhello")
    site.mailbox(b'From: "evil-imap" <evil-imap@example.net>\r\nSubject: crash \x1b[2J\r\n\r\nhello')


class Terminal:
    """A terminal that shows what a process writes there."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        self.shown = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self._ours, 65536):
                self.shown += piece
        except OSError:  # the last writer has left
            pass

    def close(self) -> None:
        os.close(self.theirs)
        self._reader.join(20)
        os.close(self._ours)


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Dovecot, Mosquitto]]:
    with dovecot() as mailbox, mosquitto() as broker:
        yield mailbox, broker


def attacked(site: EveryProtocol, stderr: int, log: Any) -> None:
    """Start, attack until there is a line for each of `MARKS`, and stop."""
    site.start(stderr)
    try:
        until(lambda: "evil-broker" in seen(site, log), lambda: log().decode("utf-8", "replace")[-3000:])
        attack(site)
        until(lambda: not missing(log()), lambda: f"{missing(log())} in {log()[-3000:]!r}")
        until(lambda: b"no such ticket" in log() and b"no such device" in log(), "crashes")
    finally:
        assert site.stop() == 0


def missing(log: bytes) -> list[str]:
    return [mark for mark in MARKS if mark.encode() not in log]


def seen(site: EveryProtocol, log: Any) -> str:
    """Publish at the broker until the gateway has subscribed there."""
    site.broker(b"evil-broker/first")
    return str(log(), "utf-8", "replace")


def lines_of(content: bytes) -> list[str]:
    """The lines as every reader divides them, and not only at line feeds. They are valid UTF-8."""
    text = content.decode("utf-8")
    assert text.endswith("\n")
    assert len(text.split("\n")) == len(text.splitlines()) + 1, "nothing else ends a line"
    return text.splitlines()


def shows(line: str) -> bool:
    return all(each.isprintable() or each in "\u200c\u200d\u00a0" for each in line)


def check_text(lines: list[str], begins: str) -> None:
    for line in lines:
        assert shows(line), ascii(line[:500])
        assert len(line) <= LONGEST + 5100, ascii(line[:500])
        assert re.match(f"{begins}|        ", line), ascii(line[:500])
    heads = [re.sub(f"^{begins}", "", line) for line in lines]
    assert not [each for each in heads if each.startswith("ERROR   forged")]


@pytest.fixture(scope="module")
def in_a_file(peers: tuple[Dovecot, Mosquitto], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a gateway whose log and access lines are in files, in text."""
    folder = tmp_path_factory.mktemp("text")
    log = "{arrivals: true, file: text.log, access_file: access.log}"
    site = EveryProtocol(folder, *peers, log, access="combined")
    with (folder / "stderr").open("wb") as stderr:
        file = folder / "text.log"
        attacked(site, stderr.fileno(), lambda: file.read_bytes() if file.exists() else b"")
    return folder


def test_text_in_a_file(in_a_file: Path) -> None:
    check_text(lines_of((in_a_file / "text.log").read_bytes()), WHOLE_TIME)
    assert (in_a_file / "stderr").read_bytes() == b""


def test_access_lines_are_read_by_goaccess(in_a_file: Path, tmp_path: Path) -> None:
    lines = lines_of((in_a_file / "access.log").read_bytes())
    assert sum("evil-agent" in line for line in lines) >= 3
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 32768
    report = tmp_path / "report.json"
    command = [program("goaccess"), str(in_a_file / "access.log"), "--log-format=COMBINED", "--no-global-config"]
    subprocess.run([*command, "-o", str(report)], check=True, timeout=60, capture_output=True)
    read = json.loads(report.read_bytes().decode("latin-1"))["general"]
    assert (read["valid_requests"], read["failed_requests"]) == (len(lines), 0)


def test_text_on_a_terminal(peers: tuple[Dovecot, Mosquitto], tmp_path: Path) -> None:
    terminal = Terminal()
    site = EveryProtocol(tmp_path / "site", *peers, "{arrivals: true}")
    try:
        attacked(site, terminal.theirs, lambda: terminal.shown)
    finally:
        terminal.close()
    lines = [COLOURS.sub("", line) for line in lines_of(terminal.shown.replace(b"\r\n", b"\n"))]
    check_text(lines, TIME_OF_DAY)


def test_json(peers: tuple[Dovecot, Mosquitto], tmp_path: Path) -> None:
    site = EveryProtocol(tmp_path / "site", *peers, "{format: json, arrivals: true}", access="combined")
    file = tmp_path / "log"
    with file.open("wb") as stderr:
        attacked(site, stderr.fileno(), file.read_bytes)
    schema = jsonschema.Draft202012Validator(json_schema())
    for line in lines_of(file.read_bytes()):
        assert shows(line), ascii(line[:500])
        assert len(line.encode()) < 262144
        schema.validate(json.loads(line))
