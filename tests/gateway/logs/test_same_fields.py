"""In JSON, the same event has the same fields with the same meaning, whichever protocol brought it."""

import json
from typing import Any

import jsonschema
import pytest
from servers.dovecot import dovecot
from servers.every_protocol import EveryProtocol, connect_packet, publish_packet
from servers.mosquitto import mosquitto
from servers.site import until

from gateway.logs.fields import json_schema

Record = dict[str, Any]
AGENT = b"User-Agent: agent/1"
DESK = "help@example.org"
FROM, TO = "+447700900123", "+447700900999"
ARRIVAL = {"time", "level", "logger", "message", "scope", "server", "event_type", "peer", "what", "route", "target"}
ARRIVAL |= {"verdict", "duration"}
"""What a record of every arrival has."""
AT_SOME = {"event_id", "address", "bytes", "user_agent", "attempt"}
"""What it has besides, where there is such a thing: a connection of MQTT has no id, and a mailbox no address."""
WORDS = ("ok", "crash", "refuse")
VERDICTS = {
    # of the words: ok, crash, refuse
    "http": ("200", "500", "403"),
    "websocket": ("taken", "closed, 1011", "rejected, 403"),
    "mqtt 4": ("acknowledged", "not acknowledged", "rejected, 0x80"),
    "mqtt 5": ("acknowledged", "not acknowledged", "rejected, 0x80"),
    "broker": ("acknowledged", "not acknowledged", "rejected, 0x80"),
    "smtp": ("accepted", "deferred", "rejected, 550"),
    "lmtp": ("accepted", "deferred", "rejected, 550"),
    "imap": ("accepted", "deferred", "rejected, 550"),
    "sms": ("accepted", "deferred", "rejected"),
}
"""The protocol -> what became of the message that its handler took, crashed at and refused."""
PEERS = {
    # who sent it; what it was sent to; and its server
    "http": ("127.0.0.1:", "GET /{}", "web"),
    "websocket": ("127.0.0.1:", "/{}", "web"),
    "mqtt 4": ("dev-4", "{}/t", "devices"),
    "mqtt 5": ("dev-5", "{}/t", "devices"),
    "broker": ("broker", "{}/b", "broker"),
    "smtp": ("{}-smtp@example.net", DESK, "mail"),
    "lmtp": ("{}-lmtp@example.net", DESK, "local"),
    "imap": ("{}-imap@example.net", DESK, "mailbox"),
    "sms": (FROM, TO, "texts"),
}
SCOPES = {"broker": "mqtt", "smtp": "email", "lmtp": "email", "imap": "email"}
REFUSED = {
    # what the server refused before an application saw it: the scope type, its server and the verdict
    "a wrong password of MQTT": ("mqtt", "guarded", "rejected, 0x86"),
    "a packet that a client may not send": ("mqtt", "devices", "closed, 0x82"),
    "a login by SMTP where there is none": ("email", "mail", "rejected, 502"),
    "a recipient that is no address": ("email", "mail", "rejected, 553"),
    "a wrong signature of a text": ("sms", "texts", "rejected, 403"),
    "a request that cannot be read": ("http", "web", "400"),
    "a frame that cannot be read": ("websocket", "web", "closed, 1007"),
}
LEFT = {"http": "client left", "websocket": "closed, 1006", "mqtt": "not acknowledged"}


def say(site: EveryProtocol, word: str) -> None:
    said = word.encode()
    site.http(b"/" + said, AGENT)
    site.websocket(b"/" + said, AGENT, said=b"hello " + said)
    for version in (4, 5):
        site.mqtt(said + b"/t", client_id=b"dev-%d" % version, version=version)
    for protocol, server in (("smtp", "mail"), ("lmtp", "local")):
        site.mail(f"{word}-{protocol}@example.net".encode(), DESK.encode(), said, server=server)
    site.sms(FROM, TO, word, f"id-{word}")
    site.broker(said + b"/b")
    site.mailbox(f"From: {word}-imap@example.net\r\nTo: {DESK}\r\nSubject: {word}\r\n\r\nhello".encode())


def be_refused(site: EveryProtocol) -> None:
    site.mqtt(b"t", client_id=b"dev-1", user=b"ann", password=b"wrong", server="guarded", version=5)
    site.leave("devices", connect_packet(4, b"dev-2", None, None), b"\xff\xff\xff\xff\xff")
    site.smtp(b"EHLO x", b"AUTH PLAIN AGFubgB3cm9uZw==", b"MAIL FROM:<ann@example.net>", b"RCPT TO:<nobody>")
    site.http(b"/hooks/sms", b"X-Signature: 00", method=b"POST", body=b"{}")
    site.http(b"/", b"Transfer-Encoding: nonsense")
    site.websocket(b"/bad", said=b"\xff\xfe")


def leave(site: EveryProtocol) -> None:
    site.leave("web", b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    site.websocket(b"/left", said=b"hello", closes=False)
    site.leave("devices", connect_packet(4, b"dev-3", None, None), publish_packet(4, b"slow/t", b"1"))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    folder = tmp_path_factory.mktemp("fields")
    file = folder / "log"

    def read() -> list[Record]:
        return [json.loads(line) for line in file.read_text().splitlines()]

    def verdicts() -> set[str]:
        return {f"{each.get('server')}: {each.get('verdict')}" for each in read()}

    with dovecot() as mailbox, mosquitto() as broker:
        site = EveryProtocol(folder, mailbox, broker, "{format: json, arrivals: true}")
        try:
            with file.open("wb") as stderr:
                site.start(stderr.fileno())
            until(lambda: site.broker(b"first") and "broker: acknowledged" in verdicts(), file.read_text)
            for word in (
                "ok",
                "refuse",
                "crash",
            ):  # the broker sends again what was not acknowledged, and waits with the rest
                say(site, word)
            be_refused(site)
            leave(site)
            wanted = {f"{PEERS[name][2]}: {verdict}" for name, row in VERDICTS.items() for verdict in row}
            wanted |= {f"{server}: {verdict}" for _, server, verdict in REFUSED.values()}
            wanted |= {"web: client left", "web: closed, 1006"}
            until(lambda: wanted <= verdicts(), lambda: f"{wanted - verdicts()} in {file.read_text()}")
        finally:
            assert site.stop() == 0
    return read()


def arrivals(records: list[Record], **facts: Any) -> list[Record]:
    return [each for each in records if each["logger"] == "gateway.logs.arrivals" and facts.items() <= each.items()]


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("protocol", VERDICTS)
def test_what_became_of_a_message(records: list[Record], protocol: str, word: str) -> None:
    scope = SCOPES.get(protocol, protocol.partition(" ")[0])
    who, what, server = (each.format(word) for each in PEERS[protocol])
    verdict = VERDICTS[protocol][WORDS.index(word)]
    found = [
        each
        for each in arrivals(records, scope=scope, server=server, verdict=verdict)
        if each["peer"].startswith(who) and each["what"].startswith(what)
    ]
    assert found, [each for each in records if each.get("server") == server]
    for record in found:
        is_failure = word == "crash"
        assert record.keys() - AT_SOME == ARRIVAL | ({"error"} if is_failure else set())
        assert record.get("address", "127.0.0.1") == "127.0.0.1"
        assert ("address" in record) == (protocol != "imap")
        assert record["event_type"].startswith(f"{scope}.")
        assert record["target"].startswith("every_handlers.")
        assert record["duration"] >= 0
        assert not is_failure or record["error"].startswith("ValueError no such ")
        assert ("user_agent" in record) == (scope in ("http", "websocket"))
        assert scope == "websocket" or record["bytes"] >= 0


@pytest.mark.parametrize("protocol", VERDICTS)
def test_a_crash(records: list[Record], protocol: str) -> None:
    """Its own record has the same fields as the line of the arrival, with the same values."""
    scope, server = SCOPES.get(protocol, protocol.partition(" ")[0]), PEERS[protocol][2]
    crashes = [each for each in records if each["logger"] == "protocols.app_run" and each.get("server") == server]
    crash = next(each for each in crashes if each["scope"] == scope)
    assert (crash["level"], crash["traceback"].splitlines()[0]) == ("error", "Traceback (most recent call last):")
    own = {
        name: crash[name]
        for name in ("scope", "server", "peer", "address", "route", "target", "error")
        if name in crash
    }
    assert own.keys() | {"address"} == {"scope", "server", "peer", "address", "route", "target", "error"}
    assert arrivals(records, **own), crash


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_server_refuses_before_an_application_sees_it(records: list[Record], case: str) -> None:
    scope, server, verdict = REFUSED[case]
    facts = {"scope": scope, "server": server, "verdict": verdict, "address": "127.0.0.1"}
    found = [each for each in records if facts.items() <= each.items() and each["logger"].startswith("protocols.")]
    assert found, [each for each in records if each.get("server") == server]
    assert {each["peer"].partition(":")[0] for each in found} <= {"127.0.0.1", "dev-1", "dev-2"}


@pytest.mark.parametrize("scope", LEFT)
def test_a_peer_that_leaves_without_an_answer(records: list[Record], scope: str) -> None:
    """A mail and a text are whole when they are handled, whether or not their sender waits."""
    found = arrivals(records, scope=scope, verdict=LEFT[scope])
    assert found
    assert all(each.keys() - AT_SOME - {"error"} == ARRIVAL for each in found)


def test_every_record_is_one_of_the_schema(records: list[Record]) -> None:
    schema = jsonschema.Draft202012Validator(json_schema())
    for record in records:
        schema.validate(record)


def test_the_schema_explains_each_field(records: list[Record]) -> None:
    described = json_schema()["properties"]
    used = {name for record in records for name in record}
    assert used >= ARRIVAL | AT_SOME - {"attempt"}
    assert all(described[name]["description"] for name in used)
