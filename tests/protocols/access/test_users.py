"""Hashes of passwords, and the file that holds them. The clock is the test's."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import bcrypt as library
import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from protocols.access import users as module
from protocols.access.users import (
    MAX_BCRYPT,
    PasswordFile,
    Unverifiable,
    check_users,
    hash_password,
    parse_users,
    verify,
)
from protocols.secret import Secret

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ANN, BOB = (CHEAP.hash(f"{name}'s", salt=b"no salt at all") for name in ("ann", "bob"))  # in the tests' names
BCRYPT = "$2b$04$gX5Ggd0WAodjmjkqKYdNRuZEsCYwBqMH4CHf0iKZN0Sow0tAmQ6j2"


# Hashes.


def cheap_bcrypt(password: bytes) -> str:
    return library.hashpw(password, library.gensalt(4)).decode()


@pytest.mark.parametrize("password", [b"correct horse", "Öl".encode(), b"\xff\xfe", b"x" * MAX_BCRYPT])
@pytest.mark.parametrize("make", [hash_password, CHEAP.hash, cheap_bcrypt])
def test_what_was_hashed_is_known_again(password: bytes, make: Callable[[bytes], str]) -> None:
    users = {"ann": Secret(make(password))}
    check_users(users)
    assert verify(users, "ann", password)
    assert not verify(users, "ann", password + b"x")
    assert not verify(users, "ann", b"")
    assert not verify(users, "bob", password)


def test_what_bcrypt_hashed_is_known_again() -> None:
    users = {"ann": Secret(hash_password(b"x" * MAX_BCRYPT, bcrypt=True))}
    check_users(users)
    assert verify(users, "ann", b"x" * MAX_BCRYPT)


def test_what_hash_is_made() -> None:
    assert hash_password(b"a").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hash_password(b"a", bcrypt=True).startswith("$2b$12$")
    assert hash_password(b"a") != hash_password(b"a")


@pytest.mark.parametrize(
    ("password", "bcrypt", "words"),
    [
        (b"", False, "empty"),
        (b"", True, "empty"),
        (b"x" * 73, True, "72 bytes"),
        (b"a\0", True, "without NUL"),
        (b"x" * 65536, False, "65,535 bytes"),
    ],
)
def test_a_password_that_is_none(password: bytes, bcrypt: bool, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hash_password(password, bcrypt=bcrypt)


def test_a_longer_password_is_not_its_first_72_bytes() -> None:
    users = {"ann": Secret(cheap_bcrypt(b"x" * 72))}
    assert verify(users, "ann", b"x" * 72)
    assert not verify(users, "ann", b"x" * 73)


def test_what_is_the_same_to_bcrypt_is_not_the_same() -> None:
    users = {"ann": Secret(cheap_bcrypt(b"a"))}
    assert library.checkpw(b"a\0a", users["ann"].reveal().encode())
    assert not verify(users, "ann", b"a\0a")


def test_any_bytes_are_a_password_to_argon2id() -> None:
    users = {"ann": Secret(hash_password(b"\0"))}
    assert verify(users, "ann", b"\0")
    assert not verify(users, "ann", b"\0\0")


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "",
        "{plain}hunter2",
        "$1$abc$hunter2",
        "$6$rounds=5000$usesomesillystri$hunter2",
        "$argon2i$v=19$m=65536,t=3,p=4$JUmzhYuv7Z5g1WT7Bykw0w$bXyAbR5uBuDZqVVs2ZY6LPvKUqbe1xY2mJ3oDPbG6Cg",
        ANN[:40],
        ANN + "\n",
        BCRYPT[:-1],
        BCRYPT + "x",
        BCRYPT.replace("$04$", "$03$"),
    ],
)
def test_what_is_no_hash_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match="the hash of user 'ann' is neither argon2id nor bcrypt") as caught:
        check_users({"ann": Secret(value)})
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "\x1b[1m"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a user name"):
        check_users({name: Secret(ANN)})


@pytest.mark.parametrize("value", [ANN.replace("m=8,", "m=1,"), "$2b$04$" + "." * 21 + "9" + "." * 31])
def test_a_hash_that_makes_no_sense(value: str) -> None:
    users = {"ann": Secret(value)}
    check_users(users)
    with pytest.raises(Unverifiable) as caught:
        verify(users, "ann", b"hunter2")
    assert "hunter2" not in str(caught.value)
    assert value not in str(caught.value)


def test_an_unknown_user_costs_what_a_wrong_password_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(module, "_is_password", lambda hashed, password: checked.append(hashed) or True)
    users = {"ann": Secret(ANN), "bob": Secret(BOB)}
    names = [f"stranger {number}" for number in range(64)]
    assert not any(verify(users, name, b"x") for name in names * 2)
    assert checked[:64] == checked[64:]  # always the same for one name
    assert set(checked) == {ANN, BOB}
    assert not verify({}, "ann", b"x")
    assert checked[-1].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_an_unknown_user_may_cost_what_any_user_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the time shows how expensive the hash was, whatever the answer waits for."""
    seen: set[str] = set()

    def check(hashed: str, password: bytes) -> bool:
        seen.add(hashed)
        return False

    monkeypatch.setattr(module, "_is_password", check)
    users = {f"u{number}": Secret(f"hash {number}") for number in range(30)}
    for number in range(1000):
        verify(users, f"unknown {number}", b"x")
    assert len(seen) == 30


def test_the_hash_for_strangers_is_a_real_one(caplog: pytest.LogCaptureFixture) -> None:
    check_users({"nobody": module._STRANGER})
    assert not verify({}, "nobody", b"x")
    assert caplog.records == []


def test_nothing_shows_a_hash() -> None:
    assert ANN not in repr(parse_users(f"ann:{ANN}"))


# The file.


def test_a_file() -> None:
    users = parse_users(f"# who\n\nann:{ANN}\r\n  bob:{BOB}  \nurn:b:{BCRYPT}\n#eve:{ANN}\n")
    assert {name: value.reveal() for name, value in users.items()} == {"ann": ANN, "bob": BOB, "urn:b": BCRYPT}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hunter2", "line 1 is not name:hash"),
        ("# x\nann:hunter2", "line 2: the hash of user 'ann' is neither"),
        (f":{ANN}", "line 1: '' is not a user name"),
        (f"ann:{ANN}\nann:{BOB}", "line 2: user 'ann' is there already"),
    ],
)
def test_a_file_with_a_mistake(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_users(text)
    assert "hunter2" not in str(caught.value)


@given(st.text(st.one_of(st.characters(), st.sampled_from(":#\n$"))))
def test_any_text_is_users_or_a_sentence(text: str) -> None:
    try:
        users = parse_users(text)
    except ValueError as error:
        assert str(error).startswith("line ")  # noqa: PT017 -- where it is not an error, it is this
    else:
        assert users == {}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Written:
    """A password file of the test; each writing has a time of its own, as a slow person's would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._time = 1_000_000_000

    def write(self, data: bytes) -> None:
        self.path.write_bytes(data)
        self._time += 1
        os.utime(self.path, (self._time, self._time))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    found = Written(tmp_path / "users")
    found.write(f"ann:{ANN}".encode())
    return found


def names(file: PasswordFile) -> list[str]:
    return sorted(file.users())


def test_a_file_that_changes_is_read_again_once_a_second(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    file = PasswordFile(str(written.path), "devices", clock)
    written.write(f"bob:{BOB}".encode())
    clock.now += 0.9
    assert names(file) == ["ann"]
    clock.now += 0.1
    assert names(file) == ["bob"]
    assert caplog.messages == [f"devices: password_file: {written.path}: read again, 1 users"]


def test_a_file_that_does_not_change_is_not_read_again(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    file = PasswordFile(str(written.path), "devices", clock)
    monkeypatch.setattr(module, "_read", lambda path: pytest.fail("it was read"))
    for _ in range(3):
        clock.now += 5
        assert names(file) == ["ann"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda written: written.write(b"ann:hunter2"),
            "line 1: the hash of user 'ann' is neither argon2id nor bcrypt",
        ),
        (lambda written: written.write(b"hunter2"), "line 1 is not name:hash"),
        (lambda written: written.write(b"hunter2\xff"), "it is not UTF-8 text"),
        (lambda written: written.path.unlink(), "it cannot be read: No such file or directory"),
        (lambda written: (written.path.unlink(), written.path.mkdir()), "it cannot be read: Is a directory"),
    ],
)
def test_a_broken_file_keeps_the_last_good_one_and_says_so_once(
    spoil: Callable[[Written], None], words: str, written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file = PasswordFile(str(written.path), "devices", clock)
    spoil(written)
    for _ in range(3):
        clock.now += 5
        assert names(file) == ["ann"]
    assert len(caplog.messages) == 1
    assert words in caplog.text
    assert "the last good one counts" in caplog.text
    assert "hunter2" not in caplog.text
    if written.path.is_dir():
        written.path.rmdir()
    written.write(f"bob:{BOB}".encode())
    clock.now += 5
    assert names(file) == ["bob"]


@pytest.mark.parametrize("data", [None, b"ann:hunter2", b"\xff"])
def test_a_server_does_not_begin_with_a_broken_file(data: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "users"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=f"^password_file: {path}: ") as caught:
        PasswordFile(str(path), "devices")
    assert "hunter2" not in str(caught.value)
