"""The file and its journal, cut anywhere and with flipped bits.

It opens, says what it found, and gives out nothing that is not what was put there.
"""

import asyncio
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from crashing import SEEDS

from gateway.store import Message, StoreUnavailable
from gateway.store.rows import DAMAGED
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.sql.schema import MIGRATIONS

pytestmark = pytest.mark.fault
MESSAGES = 120
PAGE = 4096


@pytest.fixture(params=SEEDS)
def chance(request: pytest.FixtureRequest, anyio_backend: object) -> random.Random:
    """Another one on each loop."""
    return random.Random(f"{request.param} {anyio_backend}")


def content(number: int) -> bytes:
    return f"content {number} ".encode() * (1 + number * 7 % 90)


async def written(folder: Path, *, journal: bool) -> Path:
    """A database of ``MESSAGES``, a commit each; with ``journal``, half of them are in the journal alone."""
    path = folder / "gateway.db"
    store = SQLiteStore(path)
    await store.open()
    for number in range(MESSAGES):
        if number == MESSAGES // 2:
            await store.close()
            store = SQLiteStore(path)
            await store.open()
        event = f"m{number}"
        await store.put(Message(event, "mqtt", "route", "k" if number % 4 else event, 1.0, content(number)))
    copy = folder / "copy.db"
    if journal:
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")
    await store.close()
    if not journal:
        shutil.copy(path, copy)
    return copy


async def read(path: Path) -> tuple[str, dict[str, bytes], list[Message]]:
    """What the store says at open, what it gives out, and what is among the dead."""
    store = SQLiteStore(path)
    found = await store.open()
    given: dict[str, bytes] = {}
    try:
        while taken := await store.take(50, now=2.0):
            given |= {message.id: message.content for message in taken}
            await asyncio.gather(*(store.finish(message.id) for message in taken))
        return found, given, await store.dead()
    finally:
        await store.close()


def unchanged(given: dict[str, bytes]) -> bool:
    return all(data == content(int(event[1:])) for event, data in given.items())


def flip(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def size_of(path: str) -> int:
    return Path(path).stat().st_size


def fresh(template: Path, place: Path) -> Path:
    """A copy to damage."""
    place.mkdir()
    for suffix in ("", "-wal"):
        if (source := template.with_name(template.name + suffix)).exists():
            shutil.copy(source, place / f"gateway.db{suffix}")
    return place / "gateway.db"


async def test_nothing_is_damaged_before(tmp_path: Path) -> None:
    for journal in (True, False):
        place = tmp_path / str(journal)
        place.mkdir()
        found, given, dead = await read(await written(place, journal=journal))
        assert (found, len(given), dead) == ("", MESSAGES, [])


async def test_the_journal_cut_anywhere(tmp_path: Path, chance: random.Random) -> None:
    template = await written(tmp_path, journal=True)
    size = size_of(f"{template}-wal")
    before: list[tuple[int, int]] = []
    for at in sorted(chance.randrange(size) for _ in range(12)):
        path = fresh(template, tmp_path / f"cut{at}-{len(before)}")
        os.truncate(f"{path}-wal", at)
        found, given, dead = await read(path)
        assert (found, dead) == ("", [])
        assert unchanged(given)
        before.append((at, len(given)))
    assert before[0][1] >= MESSAGES // 2
    assert [count for _, count in before] == sorted(count for _, count in before), "the longer, the more is there"


async def test_a_bit_of_the_journal_flipped(tmp_path: Path, chance: random.Random) -> None:
    template = await written(tmp_path, journal=True)
    size = size_of(f"{template}-wal")
    for turn in range(12):
        path = fresh(template, tmp_path / f"flip{turn}")
        at = chance.randrange(size)
        flip(Path(f"{path}-wal"), at, chance.randrange(8))
        found, given, dead = await read(path)
        assert unchanged(given)
        assert len(given) >= MESSAGES // 2
        assert dead == []
        if len(given) < MESSAGES:
            assert "damaged commits at the end of gateway.db-wal" in found, at
            assert list(path.parent.glob("gateway.db-wal.damaged-*"))


async def test_a_bit_of_the_database_flipped(tmp_path: Path, chance: random.Random) -> None:
    template = await written(tmp_path, journal=False)
    size = size_of(str(template))
    for turn in range(25):
        path = fresh(template, tmp_path / f"flip{turn}")
        at = chance.randrange(size)
        flip(path, at, chance.randrange(8))
        try:
            found, given, dead = await read(path)
        except StoreUnavailable as error:  # said, and nothing given out wrongly
            found, given, dead = str(error), {}, []
        assert unchanged(given)
        assert all(DAMAGED in message.error for message in dead)
        if len(given) + len(dead) < MESSAGES:
            assert "damaged" in found, (at, found, len(given))


async def test_the_database_cut_anywhere(tmp_path: Path, chance: random.Random) -> None:
    template = await written(tmp_path, journal=False)
    size = size_of(str(template))
    for turn in range(8):
        path = fresh(template, tmp_path / f"cut{turn}")
        at = chance.randrange(size)
        os.truncate(path, at)
        found, given, dead = await read(path)
        assert unchanged(given)
        assert all(DAMAGED in message.error for message in dead)
        if found:
            assert "was damaged" in found, (at, found)
            assert list(path.parent.glob("gateway.db.damaged-*"))
        elif at > 0:  # only the end of the last page is missing: at most one message tells
            assert size - at < PAGE
            assert len(given) + len(dead) == MESSAGES, at


async def test_a_page_overwritten_loses_that_page_alone(tmp_path: Path, chance: random.Random) -> None:
    template = await written(tmp_path, journal=False)
    pages = template.stat().st_size // PAGE
    path = fresh(template, tmp_path / "page")
    with path.open("r+b") as file:
        file.seek(chance.randrange(pages // 2, pages - 1) * PAGE)
        file.write(os.urandom(PAGE))
    found, given, dead = await read(path)
    assert unchanged(given)
    assert "was damaged" in found or dead
    assert len(given) > MESSAGES * 0.7


async def test_a_damaged_message_is_among_the_dead_and_stays_there(tmp_path: Path) -> None:
    path = await written(tmp_path, journal=False)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET content = content || x'00' WHERE id = 'm4'")
    database.close()
    found, given, (dead,) = await read(path)
    assert len(given) == MESSAGES - 1
    assert (found, dead.id) == ("", "m4")
    assert DAMAGED in dead.error
    store = SQLiteStore(path)
    await store.open()
    assert await store.requeue(["m4"]) == 1
    assert await store.take(1, now=2.0) == []
    assert [message.id for message in await store.dead()] == ["m4"]
    await store.close()


async def test_a_damaged_file_that_another_has_open_is_left_to_it(tmp_path: Path) -> None:
    path = await written(tmp_path, journal=False)
    other = SQLiteStore(path)
    await other.open()
    flip(path, PAGE * 3 + 1, 7)
    for page in range(1, path.stat().st_size // PAGE):
        flip(path, PAGE * page, 7)
    with pytest.raises(StoreUnavailable, match="another process has it open"):
        await SQLiteStore(path).open()
    await other.close()
    assert "was damaged" in (await read(path))[0]


async def test_no_database_at_all(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    path.write_text("this is a text, and rather a long one, too: " * 100)
    found, given, dead = await read(path)
    assert "was damaged (file is not a database)" in found
    assert (given, dead) == ({}, [])


async def test_a_file_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    path = await written(tmp_path, journal=False)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=f"it has version 99 and this release knows {len(MIGRATIONS)}"):
        await SQLiteStore(path).open()
    assert path.read_bytes() == before
