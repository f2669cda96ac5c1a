"""A process keeps the locks that SQLite has on its store, whoever in it looks at the file."""

import os
from pathlib import Path

import pytest

from gateway.store import engine_of
from gateway.store.sqlite import SQLiteStore


def locks(path: Path) -> list[str]:
    """The POSIX locks of this process on the files of the database."""
    files = [path, path.with_name(f"{path.name}-shm")]
    inodes = {str(each.stat().st_ino) for each in files if each.exists()}
    lines = Path("/proc/locks").read_text().splitlines()
    own = [line for line in lines if line.split()[1] == "POSIX" and line.split()[4] == str(os.getpid())]
    return sorted(line.partition(":")[2] for line in own if line.split()[5].rpartition(":")[2] in inodes)


@pytest.mark.parametrize("name", ["gateway.db", "../{folder}/gateway.db", "link.db"])
async def test_looking_for_faults_leaves_the_locks(tmp_path: Path, name: str) -> None:
    path = tmp_path / "gateway.db"
    (tmp_path / "link.db").symlink_to(path)
    store = SQLiteStore(path)
    await store.open()
    try:
        before = locks(path)
        assert before
        assert engine_of(f"sqlite:{tmp_path}/{name.format(folder=tmp_path.name)}").faults() == []
        assert locks(path) == before
    finally:
        await store.close()
    assert not locks(path)


async def test_a_file_that_is_closed_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    store = SQLiteStore(path)
    await store.open()
    await store.close()
    path.write_bytes(b"SQLite format 3\0" + bytes(44) + (9999).to_bytes(4, "big") + bytes(36))  # its user_version
    assert engine_of(f"sqlite:{path}").faults()
