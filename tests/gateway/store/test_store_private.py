"""What is kept are people's mails and texts: nobody but the store's owner reads them, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.store.export import export
from gateway.store import Message
from gateway.store.sqlite import SQLiteStore
from protocols.mail.submission import MaildirSubmission

SHARED = (".open.lock", ".next.lock")
MAIL = b"From: a@example.org\r\nTo: b@example.org\r\n\r\nhi\r\n"


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Of all that is in ``folder``, and of itself."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder.parent)): stat.S_IMODE(path.stat().st_mode) for path in paths}


def wider(folder: Path) -> dict[str, str]:
    return {name: oct(mode) for name, mode in modes(folder).items() if mode & 0o077}


def a_message() -> Message:
    return Message("7f3a000001", "mqtt", "route", "key", 1.0, b"x" * 200)


async def test_a_new_store_is_its_owners_alone(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "var" / "mail" / "gateway.db")
    await store.open()
    await store.put(a_message())
    names = {path.name for path in store.path.parent.iterdir()}
    assert {"gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.db.next.lock", "gateway.db.open.lock"} < names
    assert wider(tmp_path / "var") == {}
    await store.close()
    assert wider(tmp_path / "var") == {}


async def test_one_that_everybody_could_read_is_tightened_and_that_is_said_once(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    await store.put(a_message())
    for suffix in ("", "-wal", "-shm"):
        os.chmod(f"{store.path}{suffix}", 0o644)
    later = SQLiteStore(store.path)  # the first one's journal is still there, as after a crash
    said = await later.open()
    assert said == (
        "every user of this machine could read gateway.db, gateway.db-shm, gateway.db-wal: "
        "now its owner alone can (mode 600)"
    )
    assert not [name for name in wider(tmp_path) if not name.endswith(".lock") and "/" in name]
    await later.close()
    await store.close()
    assert await store.open() == ""
    await store.close()


async def test_a_group_that_an_operator_lets_read_keeps_what_it_has(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    await store.close()
    store.path.chmod(0o640)
    assert await store.open() == ""
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o640
    await store.close()


async def test_what_is_kept_of_a_damaged_store_is_its_owners_too(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"no database" * 1000)
    store = SQLiteStore(tmp_path / "gateway.db")
    assert "is kept as" in await store.open()
    await store.close()
    assert [name for name in modes(tmp_path) if "damaged" in name]
    assert not [name for name in wider(tmp_path) if "/" in name]


async def test_mail_in_a_folder_and_exported_dead_letters(tmp_path: Path) -> None:
    await MaildirSubmission(str(tmp_path / "new" / "outbox")).submit("a@example.org", ["b@example.org"], MAIL)
    assert wider(tmp_path / "new") == {}
    assert len(list((tmp_path / "new" / "outbox").glob("new/*"))) == 1
    store = SQLiteStore(tmp_path / "store" / "gateway.db")
    await store.open()
    await store.dead_letter(a_message(), error="x")
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "7f3a000001.damaged").touch(0o644)
    await export(store.get, letters, ["7f3a000001"], lambda _: None)
    await store.close()
    assert modes(letters)["letters/7f3a000001.damaged"] == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file for somebody else")
async def test_what_root_makes_is_the_folders_owners(tmp_path: Path) -> None:
    """``gateway dead list`` as root, on a damaged store of a service: the new one is the service's as well."""
    service = 65534
    (tmp_path / "gateway.db").write_bytes(b"no database" * 1000)
    for path in (tmp_path, tmp_path / "gateway.db"):
        os.chown(path, service, service)
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    await store.put(a_message())
    assert {os.stat(f"{store.path}{suffix}").st_uid for suffix in ("", "-wal", "-shm", *SHARED)} == {service}
    await store.close()
