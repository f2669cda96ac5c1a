"""What is handled and not marked yet, when the connection, the server or the process dies."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imap_desk import Desk, mail, new_user, settings
from servers.dovecot import Dovecot, dovecot
from waiting import until

from protocols.mail.imap.errors import LedgerUnavailable
from protocols.mail.imap.ledger import Ledger
from protocols.mail.imap.marks import Mark
from protocols.mail.imap.reader import IMAPReader
from protocols.tasks import Tasks

DONE = Mark("move", "Processed")


class Disk:
    """Ledgers that outlive their readers, by name."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}
        self.fails = False

    def __call__(self, name: str) -> "Sheet":
        return Sheet(self, self.kept.setdefault(name, {}))

    @property
    def entries(self) -> list[bytes]:
        return [value for sheet in self.kept.values() for value in sheet.values()]


class Sheet:
    def __init__(self, disk: Disk, kept: dict[str, bytes]) -> None:
        self._disk = disk
        self._kept = kept

    async def load(self) -> Mapping[str, bytes]:
        if self._disk.fails:
            raise OSError("mailbox x is kept by another gateway that is running")
        return dict(self._kept)

    async def commit(self, changes: Mapping[str, bytes | None]) -> None:
        await asyncio.sleep(0)
        if self._disk.fails:
            raise OSError("the disk is full")
        for key, value in changes.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value


@pytest.fixture
def server() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
def user() -> str:
    return new_user()


def reader(app: Any, server: Dovecot, user: str, disk: Disk | None, **changes: Any) -> IMAPReader:
    return IMAPReader(app, settings(server, user, **changes), name="support", state={}, ledgers=disk)


async def handled_and_not_marked(server: Dovecot, user: str, disk: Disk) -> Desk:
    """Let a reader handle the first message, fetched alone, and the server die before the mark, and then the reader."""
    release = asyncio.Event()
    desk = Desk(one=release)
    first = reader(desk, server, user, disk, max_message=len(mail("one")))
    await first.start()
    await until(lambda: desk.subjects == ["one"])
    server.kill()
    release.set()
    await until(lambda: len(disk.entries) == 1)
    await first.stop(0)
    return desk


async def test_on_a_route_without_a_policy_a_message_is_marked_and_not_handled_again(
    server: Dovecot, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="protocols.mail")
    disk = Disk()
    server.append(mail("one"), mail("two"), user=user)
    first = await handled_and_not_marked(server, user, disk)
    server.start()
    desk = Desk()
    async with reader(desk, server, user, disk):
        await until(lambda: server.count("Processed", user) == 2)
        await until(lambda: disk.entries == [])
    assert (first.subjects, desk.subjects) == (["one"], ["two"])
    assert "support INBOX: message 1 has been handled before; move Processed" in caplog.text


async def test_without_a_ledger_it_is_handled_again_under_the_same_event_id(server: Dovecot, user: str) -> None:
    server.append(mail("one"), user=user)
    first = await handled_and_not_marked(server, user, Disk())
    server.start()
    desk = Desk()
    async with reader(desk, server, user, None):
        await until(lambda: server.count("Processed", user) == 1)
    assert desk.subjects == ["one"]
    [before], [after] = ([scope["extensions"]["event"]["id"] for scope in each.scopes] for each in (first, desk))
    assert before == after


async def test_after_another_uidvalidity_the_content_decides_once_for_each_message(server: Dovecot, user: str) -> None:
    """Three equal mails of a camera, of which one was handled. Then the server loses its index."""
    disk = Disk()
    server.append(mail("one"), mail("one"), mail("one"), user=user)
    first = await handled_and_not_marked(server, user, disk)
    await asyncio.sleep(1.1)  # UIDVALIDITY is a time in seconds
    for path in (server.root / "mail" / user / "Maildir").glob("dovecot*"):
        path.unlink()
    server.start()
    desk = Desk()
    async with reader(desk, server, user, disk):
        await until(lambda: server.count("Processed", user) == 3)
        await until(lambda: disk.entries == [])
    assert (len(first.scopes), len(desk.scopes)) == (1, 2)
    assert first.scopes[0]["mailbox"]["uidvalidity"] != desk.scopes[0]["mailbox"]["uidvalidity"]


async def test_another_message_in_the_same_place_is_handled(server: Dovecot, user: str) -> None:
    """Some servers give every folder the same UIDVALIDITY: a folder that is made anew has the same places."""
    disk = Disk()
    server.append(mail("one"), user=user)
    await handled_and_not_marked(server, user, disk)
    file = next((server.root / "mail" / user / "Maildir" / "cur").iterdir(), None)
    assert file is not None
    file.write_bytes(mail("two"))
    _forget_sizes(file)
    server.start()
    desk = Desk()
    async with reader(desk, server, user, disk):
        await until(lambda: server.count("Processed", user) == 1)
    assert desk.subjects == ["two"]


def _forget_sizes(file: Path) -> None:
    """Let the server look at the file again."""
    for cache in file.parent.parent.glob("dovecot.index*"):
        cache.unlink()
    if ",S=" in file.name or ",W=" in file.name:
        file.rename(file.with_name(file.name.partition(",")[0] + ":2,"))


async def test_a_folder_that_another_process_reads_is_looked_at_again(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mail.imap.folder_reader.LEASE", 0.05)
    disk = Disk()
    disk.fails = True
    server.append(mail("one"), user=user)
    desk = Desk()
    async with reader(desk, server, user, disk) as waiting:
        await until(lambda: "is kept by another gateway that is running" in waiting.status.detail)
        assert server.who(user) == []
        disk.fails = False
        await until(lambda: server.count("Processed", user) == 1)
    assert desk.subjects == ["one"]


async def test_a_folder_that_shares_its_connection_is_not_waited_for_until_the_next_poll(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mail.imap.folder_reader.LEASE", 0.05)
    disk = Disk()
    disk.fails = True
    server.append(mail("one"), user=user)
    folders = {"folders": ("INBOX", "Drafts"), "connections": 1, "poll": 3600}
    async with reader(Desk(), server, user, disk, **folders) as waiting:
        await until(lambda: "INBOX: mailbox x is kept by another gateway" in waiting.status.detail)
        disk.fails = False
        await until(lambda: server.count("Processed", user) == 1)


async def test_a_store_that_fails_stops_no_mail_and_is_told_once(
    server: Dovecot, user: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("protocols.mail.imap.ledger._AGAIN", 0.01)
    disk, release = Disk(), asyncio.Event()
    server.append(mail("one"), mail("slow"), user=user)
    async with reader(Desk(slow=release), server, user, disk) as running:
        await until(lambda: running.status.state == "ready")
        disk.fails = True
        await until(lambda: "cannot be noted: the disk is full" in caplog.text)
        release.set()
        await until(lambda: server.count("Processed", user) == 2)
        disk.fails = False
        await until(lambda: disk.entries == [])
    assert caplog.text.count("cannot be noted") == 1


# The ledger alone.


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


@given(
    contents=st.lists(st.sampled_from("abc"), max_size=12),
    handled=st.sets(st.integers(0, 11)),
    moved=st.booleans(),
    gone=st.sets(st.integers(0, 11)),
)
def test_no_message_is_recognized_that_was_not_handled(
    contents: list[str], handled: set[int], moved: bool, gone: set[int]
) -> None:
    """Whatever the server does with the places: of equal messages so many are recognized as were handled, at most."""

    async def run() -> None:
        disk, tasks = Disk(), Tasks("test")
        ledger = Ledger("x", disk("x"), tasks)
        await ledger.open()
        ledger.begin(1)
        for uid, content in enumerate(contents):
            if uid in handled:
                ledger.note(uid, digest(content), DONE)
        await tasks.drain(5)
        again = Ledger("x", disk("x"), tasks)
        await again.open()
        again.begin(2 if moved else 1)
        there = [(uid + 50 * moved, content) for uid, content in enumerate(contents) if uid not in gone]
        found = [content for uid, content in there if again.recognize(uid, digest(content)) == DONE]
        done = Counter(content for uid, content in enumerate(contents) if uid in handled)
        left = Counter(content for _, content in there)
        if moved:
            assert Counter(found) == done & left
        else:
            assert Counter(found) == Counter(
                content for uid, content in enumerate(contents) if uid in handled and uid not in gone
            )
        again.forget_vanished(set())
        again.forget_former()
        await tasks.drain(5)
        assert disk.entries == []

    asyncio.run(run())


async def test_what_is_marked_before_it_is_written_is_never_written() -> None:
    disk, tasks = Disk(), Tasks("test")
    ledger = Ledger("x", disk("x"), tasks)
    await ledger.open()
    ledger.begin(1)
    ledger.note(1, digest("a"), DONE)
    ledger.forget([1])
    await tasks.drain(5)
    assert disk.entries == []
    disk.fails = True
    with pytest.raises(LedgerUnavailable):
        await Ledger("x", disk("x"), tasks).open()
