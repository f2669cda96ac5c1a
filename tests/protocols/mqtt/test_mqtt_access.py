"""Who is let in: by password, by certificate, without a name; and which settings make no sense."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from protocols.listener import TLS
from protocols.mqtt import access as module
from protocols.mqtt.access import MOST_AT_ONCE, MOST_WAITING, Access, Verdict, common_name
from protocols.mqtt.acl import Rule
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.users import Unverifiable
from protocols.secret import Secret

LIMIT = 20.0
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
USERS = {"ann": Secret(CHEAP.hash("ann's"))}
CLIENT_CA = TLS(certificate="c.pem", key="k.pem", client_ca="ca.pem")
OK, BAD, NOBODY, UNAVAILABLE, BUSY = 0, 0x86, 0x87, 0x88, 0x89


def certificate(*names: str) -> dict[str, Any]:
    return {"subject": ((("organizationName", "Works"),), *((("commonName", name),) for name in names))}


async def judge(settings: MQTTSettings, *who: Any) -> Verdict:
    async with asyncio.timeout(LIMIT):
        return await Access(settings, "devices").authenticate(*who)


@pytest.mark.parametrize(
    ("who", "verdict"),
    [
        (("ann", b"ann's", None), (OK, "ann")),
        (("ann", b"bob's", None), (BAD, None)),
        (("ann", b"", None), (BAD, None)),
        (("ann", None, None), (BAD, None)),
        (("bob", b"ann's", None), (BAD, None)),
        (("", b"ann's", None), (BAD, None)),
        ((None, None, None), (NOBODY, None)),
        ((None, b"ann's", None), (NOBODY, None)),
        ((None, None, certificate("ann")), (NOBODY, None)),
    ],
)
async def test_users(who: tuple[Any, ...], verdict: tuple[int, str | None]) -> None:
    assert await judge(MQTTSettings(users=USERS), *who) == verdict


@pytest.mark.parametrize(
    ("who", "verdict"),
    [
        ((None, None, None), (OK, None)),
        (("ann", b"ann's", None), (OK, "ann")),
        (("ann", b"bob's", None), (BAD, None)),
        (("bob", None, None), (BAD, None)),
    ],
)
async def test_where_anonymous_may_too_a_name_must_still_be_true(
    who: tuple[Any, ...], verdict: tuple[int, str | None]
) -> None:
    assert await judge(MQTTSettings(users=USERS, anonymous=True), *who) == verdict


@pytest.mark.parametrize(
    ("who", "verdict"),
    [
        ((None, None, certificate("valve-1")), (OK, "valve-1")),
        (("ann", b"wrong", certificate("valve-1")), (OK, "valve-1")),
        (("ann", b"ann's", certificate()), (OK, "ann")),
        ((None, None, certificate()), (NOBODY, None)),
        ((None, None, certificate("a", "b")), (NOBODY, None)),
        ((None, None, None), (NOBODY, None)),
        (("valve-1", b"x", None), (BAD, None)),
    ],
)
async def test_certificates(who: tuple[Any, ...], verdict: tuple[int, str | None]) -> None:
    settings = MQTTSettings(tls=CLIENT_CA, certificate_user=True, users=USERS)
    assert await judge(settings, *who) == verdict


async def test_a_certificate_says_nothing_where_it_was_not_asked_to() -> None:
    settings = MQTTSettings(tls=CLIENT_CA, users=USERS)
    assert await judge(settings, None, None, certificate("ann")) == (NOBODY, None)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (certificate("ann"), "ann"),
        (certificate("Ann Ö"), "Ann Ö"),
        (certificate(), None),
        (certificate(""), None),
        (certificate("a", "b"), None),
        (certificate("a\nb"), None),
        (certificate("a\0"), None),
        ({}, None),
        (None, None),
        ({"subject": ((("commonName", "a"), ("serialNumber", "1")),)}, "a"),
    ],
)
def test_common_name(found: dict[str, Any] | None, name: str | None) -> None:
    assert common_name(found) == name


async def test_the_users_of_a_file_and_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{CHEAP.hash('other')}\nbob:{CHEAP.hash('bobs')}\n")
    settings = MQTTSettings(users=USERS, password_file=str(path))
    assert await judge(settings, "bob", b"bobs", None) == (OK, "bob")
    assert await judge(settings, "ann", b"ann's", None) == (OK, "ann")
    assert await judge(settings, "ann", b"other", None) == (BAD, None)


def test_a_file_that_is_not_there_is_told_when_the_server_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="password_file"):
        Access(MQTTSettings(password_file=str(tmp_path / "none")), "devices")


def test_where_nothing_is_said_nothing_is_asked() -> None:
    access = Access(MQTTSettings(), "devices")
    assert not access.needed
    assert access.rules_for("c1", "ann") is None
    assert Access(MQTTSettings(users={}), "devices").needed
    assert not Access(MQTTSettings(anonymous=True), "devices").needed


def test_rules_are_for_one_client() -> None:
    access = Access(MQTTSettings(acl=(Rule(allow="all", topic="%u/%c"),)), "devices")
    mine = access.rules_for("c1", "ann")
    assert mine is not None
    assert mine.may_publish("ann/c1")
    assert not mine.may_publish("ann/c2")


# A flood.


class Gate:
    """Stands in for the check of a password, and lets nobody through until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.checked: list[str] = []

    def verify(self, users: object, name: str, password: bytes) -> bool:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.checked.append(name)
        assert self.opened.wait(LIMIT)
        with self.lock:
            self.inside -= 1
        return True


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(module, "verify", made.verify)
    yield made
    made.opened.set()


async def until_inside(gate: Gate, number: int) -> None:
    async with asyncio.timeout(LIMIT):
        while gate.inside < number:  # noqa: ASYNC110 -- no asyncio.Event hears of what threads do
            await asyncio.sleep(0.001)


async def test_a_flood_is_told_that_the_server_is_busy(gate: Gate) -> None:
    access = Access(MQTTSettings(users=USERS), "devices")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        room = MOST_AT_ONCE + MOST_WAITING
        taken = [group.create_task(access.authenticate(f"u{number}", b"x", None)) for number in range(room)]
        await until_inside(gate, MOST_AT_ONCE)
        assert await access.authenticate("late", b"x", None) == (BUSY, None)
        assert await access.authenticate(None, None, None) == (NOBODY, None)
        gate.opened.set()
    assert [task.result() for task in taken] == [(OK, f"u{number}") for number in range(room)]
    assert gate.most == MOST_AT_ONCE
    assert "late" not in gate.checked
    assert await access.authenticate("later", b"x", None) == (OK, "later")


async def test_who_leaves_while_waiting_makes_room_and_who_leaves_while_checked_does_not(gate: Gate) -> None:
    access = Access(MQTTSettings(users=USERS), "devices")
    async with asyncio.timeout(LIMIT):
        room = MOST_AT_ONCE + MOST_WAITING
        tasks = [asyncio.ensure_future(access.authenticate(f"u{number}", b"x", None)) for number in range(room)]
        await until_inside(gate, MOST_AT_ONCE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        # The threads are still at work, so whoever comes now waits for them.
        again = [asyncio.ensure_future(access.authenticate(f"v{number}", b"x", None)) for number in range(MOST_WAITING)]
        await asyncio.sleep(0)
        assert await access.authenticate("late", b"x", None) == (BUSY, None)
        assert gate.inside == MOST_AT_ONCE
        gate.opened.set()
        assert {verdict.reason_code for verdict in await asyncio.gather(*again)} == {OK}
    assert gate.most == MOST_AT_ONCE
    assert len(gate.checked) == MOST_AT_ONCE + MOST_WAITING


@pytest.mark.parametrize("error", [MemoryError(), Unverifiable("Memory allocation error")])
async def test_a_check_that_fails_is_the_servers_fault_and_gives_its_place_back(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(users: object, name: str, password: bytes) -> bool:
        raise error

    monkeypatch.setattr(module, "verify", fail)
    access = Access(MQTTSettings(users=USERS), "devices")
    async with asyncio.timeout(LIMIT):
        for _ in range(MOST_AT_ONCE + MOST_WAITING + 1):
            assert await access.authenticate("ann", b"hunter2", None) == (UNAVAILABLE, None)
    assert "devices: a password cannot be checked: " in caplog.text
    assert "hunter2" not in caplog.text


# Settings.

OPEN = "lets anybody connect: say users, password_file, tls.client_ca, or anonymous: true where the application itself"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bind": "0.0.0.0:1883"}, f"^bind 0.0.0.0:1883 {OPEN} decides$"),
        ({"bind": ":1883"}, f"^bind 0.0.0.0:1883 {OPEN}"),
        ({"bind": "[::]:1883"}, OPEN),
        ({"bind": "192.0.2.1:1883"}, OPEN),
        ({"bind": "broker.example.org:1883"}, OPEN),
        ({"bind": "fd:3"}, OPEN),
        ({"bind": ":8883", "tls": TLS(certificate="c", key="k")}, OPEN),
        ({"bind": ":8883", "tls": TLS(certificate="c", key="k", client_ca="")}, OPEN),
        ({"anonymous": False}, "lets nobody connect"),
        ({"certificate_user": True}, "needs tls.client_ca"),
        ({"certificate_user": True, "tls": TLS(certificate="c", key="k")}, "needs tls.client_ca"),
        ({"users": {"ann": Secret("hunter2")}}, "neither argon2id nor bcrypt"),
        ({"acl": ()}, "denies everything"),
        ({"acl": (Rule(deny="all", topic="#"),)}, "denies everything"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        MQTTSettings(**settings)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bind": "127.8.9.10:1883"},
        {"bind": "[::1]:1883"},
        {"bind": "localhost:1883"},
        {"bind": "unix:/run/mqtt.sock"},
        {"bind": ":1883", "anonymous": True},
        {"bind": ":1883", "users": USERS},
        {"bind": ":1883", "users": USERS, "anonymous": False},
        {"bind": ":1883", "password_file": "users"},
        {"bind": ":8883", "tls": CLIENT_CA},
        {"bind": ":8883", "tls": CLIENT_CA, "certificate_user": True},
    ],
)
def test_settings_that_make_sense(settings: dict[str, Any]) -> None:
    MQTTSettings(**settings)


def test_settings_do_not_show_a_hash() -> None:
    assert USERS["ann"].reveal() not in repr(MQTTSettings(users=USERS))
