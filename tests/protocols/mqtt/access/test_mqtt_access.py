"""Clients that may connect: by password, by certificate, without a name; and settings that make no sense."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_peer import CHEAP
from waiting import until

from protocols.access import logins as module
from protocols.access.login_failures import LONGEST
from protocols.access.logins import LONG, MOST_AT_ONCE, SOONEST
from protocols.access.saved_login import save_login
from protocols.access.users import Unverifiable, slowest
from protocols.mqtt.access.access import Access, Verdict, common_name
from protocols.mqtt.access.acl import Rule
from protocols.mqtt.settings import MQTTSettings
from protocols.net.listener import TLS
from protocols.secret import Secret

LIMIT = 20.0
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


# Many logins, right and wrong.


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
        return password == b"right"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(module, "verify", made.verify)
    yield made
    made.opened.set()


def users_of(*names: str) -> dict[str, Secret]:
    return dict.fromkeys(names, USERS["ann"])


async def test_nobody_with_the_right_password_is_refused_because_many_come(gate: Gate) -> None:
    names = [f"u{number}" for number in range(1000)]
    access = Access(MQTTSettings(users=users_of(*names)), "devices")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        tasks = [group.create_task(access.authenticate(name, b"right", None, "192.0.2.1")) for name in names]
        await until(lambda: gate.inside >= MOST_AT_ONCE)
        gate.opened.set()
    assert [task.result() for task in tasks] == [(OK, name) for name in names]
    assert gate.most == MOST_AT_ONCE
    assert sorted(gate.checked) == sorted(names)


async def test_a_right_password_does_not_wait_behind_wrong_ones_of_another_address(gate: Gate) -> None:
    access = Access(MQTTSettings(users=users_of("ann", "bob")), "devices")
    async with asyncio.timeout(LIMIT):
        wrong = [
            asyncio.ensure_future(access.authenticate("ann", b"%d" % number, None, "192.0.2.1"))
            for number in range(200)
        ]
        await until(lambda: gate.inside >= MOST_AT_ONCE)
        right = asyncio.ensure_future(access.authenticate("bob", b"right", None, "192.0.2.2"))
        await asyncio.sleep(0)
        gate.opened.set()
        assert await right == (OK, "bob")
        assert "bob" in gate.checked[: 2 * MOST_AT_ONCE + 2]
        for task in wrong:
            task.cancel()
        await asyncio.gather(*wrong, return_exceptions=True)


async def test_long_passwords_have_a_bound_of_their_own(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LONG", most := 3)
    access = Access(MQTTSettings(users=users_of("ann")), "devices")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        long = [b"%d " % number + b"x" * LONG for number in range(most)]
        tasks = [group.create_task(access.authenticate("ann", each, None)) for each in long]
        await until(lambda: gate.inside >= MOST_AT_ONCE)
        assert await access.authenticate("ann", b"x" * (LONG + 1), None) == (BUSY, None)
        tasks.append(group.create_task(access.authenticate("ann", b"right", None)))
        await asyncio.sleep(0)
        gate.opened.set()
    assert tasks[-1].result() == (OK, "ann")
    assert await access.authenticate("ann", b"x" * (LONG + 1), None) == (BAD, None)  # there is room again


async def test_who_leaves_while_waiting_is_not_checked(gate: Gate) -> None:
    access = Access(MQTTSettings(users=users_of("ann")), "devices")
    async with asyncio.timeout(LIMIT):
        tasks = [asyncio.ensure_future(access.authenticate(f"u{number}", b"x", None)) for number in range(100)]
        await until(lambda: gate.inside >= MOST_AT_ONCE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        gate.opened.set()
        assert await access.authenticate("ann", b"right", None) == (OK, "ann")
    assert len(gate.checked) == MOST_AT_ONCE + 1


async def test_a_login_does_not_wait_for_other_work_on_threads(tmp_path: Path) -> None:
    """As for name servers that do not answer."""
    path, opened = tmp_path / "users", threading.Event()
    path.write_text(f"ann:{CHEAP.hash('right')}\n")
    access = Access(MQTTSettings(password_file=str(path)), "devices")
    assert access.logins._file is not None
    access.logins._file._clock = lambda: time.monotonic() * 1e6
    others = [asyncio.ensure_future(asyncio.to_thread(opened.wait, LIMIT)) for _ in range(64)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(LIMIT / 2):
            assert await access.authenticate("ann", b"right", None) == (OK, "ann")
    finally:
        opened.set()
        await asyncio.gather(*others)


async def test_a_password_that_was_verified_is_not_verified_again(gate: Gate) -> None:
    gate.opened.set()
    access = Access(MQTTSettings(users=users_of("ann", "bob")), "devices")
    for _ in range(3):
        assert await access.authenticate("ann", b"right", None) == (OK, "ann")
    assert gate.checked == ["ann"]
    assert await access.authenticate("ann", b"right ", None) == (BAD, None)
    assert await access.authenticate("bob", b"right", None) == (OK, "bob")
    assert gate.checked == ["ann", "ann", "bob"]


async def test_a_wrong_password_that_is_repeated_is_not_computed_again(gate: Gate) -> None:
    gate.opened.set()
    access = Access(MQTTSettings(users=USERS), "devices")
    for _ in range(3):
        assert await access.authenticate("ann", b"old", None) == (BAD, None)
    assert gate.checked == ["ann"]


async def test_who_comes_at_once_with_one_login_is_checked_once(gate: Gate) -> None:
    access = Access(MQTTSettings(users=USERS), "devices")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        tasks = [group.create_task(access.authenticate("ann", b"right", None, f"192.0.2.{n}")) for n in range(200)]
        await until(lambda: gate.inside >= 1)
        gate.opened.set()
    assert {task.result() for task in tasks} == {(OK, "ann")}
    assert gate.checked == ["ann"]


async def test_a_new_hash_or_none_ends_what_was_remembered(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"ann:{CHEAP.hash('old')}\n")
    access = Access(MQTTSettings(password_file=str(path)), "devices")
    file = access.logins._file
    assert file is not None
    file._clock = lambda: time.monotonic() * 1e6  # each look finds that a second has passed
    assert await access.authenticate("ann", b"old", None) == (OK, "ann")
    assert await access.authenticate("ann", b"new", None) == (BAD, None)
    path.write_text(f"ann:{CHEAP.hash('new')}\n\n")
    assert await access.authenticate("ann", b"old", None) == (BAD, None)
    assert await access.authenticate("ann", b"new", None) == (OK, "ann")
    path.write_text("# nobody\n")
    assert await access.authenticate("ann", b"new", None) == (BAD, None)


async def test_who_is_removed_while_waiting_is_not_let_in(gate: Gate, tmp_path: Path) -> None:
    """Nor who has a new password with the old one; who has it is."""
    path = tmp_path / "users"
    names = ("ann", "bob", "cid")
    path.write_text("".join(f"{name}:{CHEAP.hash('x')}\n" for name in names))
    access = Access(MQTTSettings(password_file=str(path)), "devices")
    assert access.logins._file is not None
    access.logins._file._clock = lambda: time.monotonic() * 1e6  # each look finds that a second has passed
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        tasks = [group.create_task(access.authenticate(name, b"right", None, name)) for name in names]
        await until(lambda: gate.inside >= MOST_AT_ONCE)
        text = path.read_text().splitlines(keepends=True)
        path.write_text(text[2] + "# ann and bob have left\n")
        gate.opened.set()
    assert [task.result() for task in tasks] == [(BAD, None), (BAD, None), (OK, "cid")]


MIXED = {
    "argon": Secret(CHEAP.hash("x")),
    "bcrypt": Secret("$2b$10$gX5Ggd0WAodjmjkqKYdNRuZEsCYwBqMH4CHf0iKZN0Sow0tAmQ6j2"),
}


async def test_the_answer_to_a_wrong_login_does_not_tell_who_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is due at one time after the check began, whatever the hash."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module, "verify", lambda users, name, password: False)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    access = Access(MQTTSettings(users=MIXED), "devices")
    for number, name in enumerate(["argon", "bcrypt", *(f"stranger {each}" for each in range(20))]):
        assert await access.authenticate(name, b"wrong", None, f"192.0.2.{number}") == (BAD, None)
    due = 2 * slowest(MIXED)
    assert due > 2 * 0.05  # bcrypt's, at 10 rounds
    assert all(due - 0.05 < seconds < due + 0.001 for seconds in slept)


async def test_wrong_logins_are_slowed_by_address_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module, "verify", lambda users, name, password: password == b"right")
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    access = Access(MQTTSettings(users=users_of("ann", "bob", "eve")), "devices")
    for number in range(20):
        await access.authenticate("ann", b"%d" % number, None, "192.0.2.1")
    assert slept[1] <= SOONEST + 1e-6 < slept[4] < slept[6] < slept[8]
    assert slept[-1] > LONGEST
    by_name, by_address, neither = ("ann", "192.0.2.2"), ("bob", "192.0.2.1"), ("eve", "192.0.2.3")
    for name, host in (by_name, by_address, neither):
        await access.authenticate(name, b"wrong", None, host)
    assert slept[-3] > 1 < slept[-2]
    assert slept[-1] <= SOONEST + 1e-6
    assert await access.authenticate("ann", b"right", None, "192.0.2.1") == (OK, "ann")  # and does not wait
    assert len(slept) == 23


async def test_a_restart_remembers_who_was_right(gate: Gate) -> None:
    gate.opened.set()
    saved: dict[str, str | None] = {}
    settings = MQTTSettings(users=users_of("ann", "bob"), persistence=True)
    first = Access(settings, "devices", saved.__setitem__)
    for name in ("ann", "bob"):
        assert await first.authenticate(name, b"right", None) == (OK, name)
    assert await first.authenticate("ann", b"wrong", None) == (BAD, None)
    kept = {name: record for name, record in saved.items() if record is not None}
    assert set(kept) == {"ann", "bob"}
    assert all(b"right" not in record.encode() for record in kept.values())

    gate.checked.clear()
    second = Access(MQTTSettings(users=users_of("ann"), persistence=True), "devices", saved.__setitem__)
    second.restore(kept)
    assert await second.authenticate("ann", b"right", None) == (OK, "ann")
    assert gate.checked == []
    assert saved["bob"] is None  # he is no user any more
    assert await second.authenticate("ann", b"wrong", None) == (BAD, None)
    assert gate.checked == ["ann"]


@pytest.mark.parametrize("record", ["", "nonsense", "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$AAAA"])
async def test_a_record_that_does_not_fit_says_nothing(record: str) -> None:
    changed = {"ann": Secret(CHEAP.hash("new"))}
    access = Access(MQTTSettings(users=changed, persistence=True), "devices")
    access.restore({"ann": record or save_login(USERS["ann"], b"ann's")})
    assert await access.authenticate("ann", b"ann's", None) == (BAD, None)
    assert await access.authenticate("ann", b"new", None) == (OK, "ann")


@pytest.mark.parametrize("error", [MemoryError(), Unverifiable("Memory allocation error")])
async def test_a_check_that_fails_is_the_servers_fault_and_gives_its_place_back(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(users: object, name: str, password: bytes) -> bool:
        raise error

    monkeypatch.setattr(module, "verify", fail)
    access = Access(MQTTSettings(users=USERS), "devices")
    async with asyncio.timeout(LIMIT):
        for _ in range(MOST_AT_ONCE + 1):
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
