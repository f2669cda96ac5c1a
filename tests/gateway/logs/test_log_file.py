"""A file of the log: appended whole, rotated, found again when it was moved, and never a reason to stop."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers.programs import program
from servers.site import until
from servers.small_disk import small_disk

from gateway.logs import log_file, writer
from gateway.logs.log_file import LogFile, Rotation
from gateway.logs.writer import Writer

NEVER = Rotation(0, 1)


class File:
    """A writer to ``path``, and what it said."""

    def __init__(self, path: Path, rotation: Rotation = NEVER) -> None:
        self.path = path
        self.said: list[str] = []
        target = LogFile(str(path), rotation, self.said.append)
        self.writer = Writer(target, lambda error: self.said.append(error.strerror or ""))

    def write(self, *lines: str) -> None:
        for line in lines:
            self.writer.write(f"{line}\n".encode())
        self.writer.flush(20)

    def reopen(self) -> None:
        self.writer.do(self.writer.target.reopen)
        self.writer.flush(20)

    def lines(self, name: str = "log") -> list[str]:
        return (self.path.parent / name).read_text().splitlines()


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Callable[..., File]]:
    made: list[File] = []

    def make(rotation: Rotation = NEVER, folder: Path = tmp_path) -> File:
        made.append(File(folder / "log", rotation))
        return made[-1]

    yield make
    for each in made:
        each.writer.close(5)


New = Callable[..., File]


def test_its_mode_lets_a_group_read_and_nobody_else(new: New) -> None:
    before = os.umask(0o022)
    try:
        file = new()
        file.write("one")
    finally:
        os.umask(before)
    assert file.path.stat().st_mode & 0o777 == 0o640


def test_it_is_renamed_before_it_becomes_too_long(new: New) -> None:
    file = new(Rotation(max_size=30, keep=2))
    file.write(*(f"line {number:4}" for number in range(9)))  # 10 bytes each
    assert file.lines() == ["line    6", "line    7", "line    8"]
    assert file.lines("log.1") == ["line    3", "line    4", "line    5"]
    assert file.lines("log.2") == ["line    0", "line    1", "line    2"]
    file.write("another day", "a record that is longer than all of the file may be")
    assert file.lines() == ["a record that is longer than all of the file may be"]
    assert file.lines("log.2") == ["line    6", "line    7", "line    8"]
    assert not file.path.with_name("log.3").exists()


def test_a_record_of_several_lines_is_in_one_file(new: New) -> None:
    file = new(Rotation(max_size=30, keep=2))
    file.write("one", "two\n   with a\n   traceback", "three")
    assert file.lines("log.1") == ["two", "   with a", "   traceback"]
    assert file.lines("log.2") == ["one"]
    assert file.lines() == ["three"]


def test_it_is_renamed_before_the_first_record_of_a_day(new: New) -> None:
    file = new(Rotation(0, keep=3, daily=True))
    file.write("yesterday")
    yesterday = time.time() - 24 * 3600
    os.utime(file.path, (yesterday, yesterday))
    file.write("today", "today")
    assert file.lines("log.1") == ["yesterday"]
    assert file.lines() == ["today", "today"]
    other = new(Rotation(0, keep=3, daily=True))
    other.write("a process that starts later")
    assert len(file.lines()) == 3


def test_a_folder_in_which_nothing_can_be_renamed(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: str) -> None:
        raise PermissionError(13, "Permission denied")

    file = new(Rotation(max_size=10, keep=2))
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        file.write("line one", "line two", "line three")
    assert file.lines() == ["line one", "line two", "line three"]
    assert file.said == [f"{file.path} is not rotated, and grows: Permission denied"]


def test_it_is_found_again_when_something_has_moved_it(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    file = new()
    file.write("one")
    file.path.rename(file.path.with_name("old"))
    file.write("two")
    assert file.lines("old") == ["one", "two"], "whoever moves a file may be about to make another"
    file.path.touch(0o600)
    file.write("three")
    assert file.lines() == ["three"]
    file.path.rename(file.path.with_name("older"))
    file.reopen()
    assert file.lines() == [], "it is there at once after a signal"
    file.path.unlink()
    monkeypatch.setattr(log_file, "GONE", 0.0)
    file.write("four")
    assert file.lines() == ["four"]
    assert file.said == []


def test_a_truncated_file_has_no_hole(new: New) -> None:
    file = new()
    file.write("one")
    os.truncate(file.path, 0)
    file.write("two")
    assert file.path.read_text() == "two\n"


def test_a_folder_that_vanishes_and_comes_back(new: New, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "GONE", 0.0)
    monkeypatch.setattr(writer, "RETRY", 0.01)
    folder = tmp_path / "logs"
    folder.mkdir()
    file = new(folder=folder)
    file.write("one")
    folder.rename(tmp_path / "away")
    for number in range(100):
        file.writer.write(b"%d\n" % number)
    until(lambda: file.said, "it says that it cannot write")
    folder.mkdir()
    file.write("the end")
    assert file.lines() == [*map(str, range(100)), "the end"]
    assert file.said == ["No such file or directory"]
    assert file.writer.lost == 0


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY", 0.01)
    monkeypatch.setattr(writer, "MOST", 500_000)
    with small_disk(tmp_path / "disk") as disk:
        file = File(tmp_path / "disk" / "log")
        file.write("before")
        disk.fill()
        for number in range(200):
            file.writer.write(b"%9999d\n" % number)
        until(lambda: file.said, "it says that it cannot write")
        assert file.writer.lost > 0, "no more than MOST bytes wait"
        disk.empty()
        until(file.writer.has_room, "what waited is written")
        file.write("after")
        numbers = [int(line) for line in file.lines()[1:-1]]
        assert numbers == list(range(200 - file.writer.lost)), "each is there once and whole"
        assert file.said == ["No space left on device"]
        file.writer.close(5)
        until(lambda: file.writer._thread is None or not file.writer._thread.is_alive(), "its thread ends")


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file that this process writes becomes longer than ``size`` bytes. What would is written in part."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def replace(path: Path) -> None:
    path.rename(path.with_name("old"))
    path.touch()


def append(path: Path) -> None:
    """As another process does, which has no limit."""
    subprocess.run(["sh", "-c", 'ulimit -S -f unlimited; echo other >>"$0"', str(path)], check=True, timeout=20)


A, B, C = ("a" * 9999, "b" * 9999, "c" * 9999)


@pytest.mark.parametrize(
    ("meanwhile", "expected", "old"),
    [
        (Path.exists, ["first", A, B, C], None),
        (replace, [B, C], ["first", A, B[:4994]]),
        (Path.unlink, [B, C], None),
        (lambda path: os.truncate(path, 0), [B, C], None),
        (append, ["first", A, f"{B[:4994]}other", B, C], None),
    ],
    ids=["left alone", "replaced", "deleted", "truncated", "written by another process"],
)
def test_a_record_of_which_a_part_was_written_becomes_whole(
    new: New,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[Path], object],
    expected: list[str],
    old: list[str] | None,
) -> None:
    """It is never divided between two files, nor by what another process writes."""
    monkeypatch.setattr(writer, "RETRY", 0.01)
    monkeypatch.setattr(log_file, "GONE", 0.0)
    file = new()
    file.write("first")
    with files_of_at_most(15_000):
        for each in (A, B, C):
            file.writer.write(f"{each}\n".encode())
        until(lambda: file.said, "it says that it cannot write")
        assert file.path.stat().st_size == 15_000, "a part of the second is written"
        meanwhile(file.path)
    file.write("after")
    assert file.lines() == [*expected, "after"]
    if old is not None:
        assert file.lines("old") == old
    assert set(file.said) == {"File too large"}, "again, if it writes once more before longer files may be written"
    assert file.writer.lost == 0


def test_what_is_given_up_does_not_include_what_was_written(new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RETRY", 0.01)
    file = new()
    with files_of_at_most(15_000):
        for each in (A, B, C):
            file.writer.write(f"{each}\n".encode())
        until(lambda: file.said, "it says that it cannot write")
        file.writer.close(0)
        until(lambda: file.writer.is_over, "it ends")
    assert file.lines() == [A, B[:5000]]
    assert file.writer.lost == 2


MANY = """
import sys
from gateway.logs.log_file import LogFile, Rotation
from gateway.logs.writer import Writer
writer = Writer(LogFile(sys.argv[1], Rotation(20_000, 1000), print))
for number in range(2000):
    writer.write(f"{sys.argv[2]} {number} {'x' * (number % 90)}\\n".encode())
    if not number % 50:
        writer.flush(20)
writer.close(20)
"""


def test_several_processes_have_one_file(tmp_path: Path) -> None:
    """An old daemon and its successor: no line is lost or torn, and one of them renames the file."""
    path = tmp_path / "log"
    started = [subprocess.Popen([sys.executable, "-c", MANY, str(path), name]) for name in "abc"]
    assert [each.wait(60) for each in started] == [0, 0, 0]
    files = sorted(tmp_path.iterdir(), key=lambda each: -int(each.suffix.removeprefix(".") or 0))
    lines = [line.split() for each in files for line in each.read_text().splitlines()]
    for name in "abc":
        assert [int(number) for who, number, *_ in lines if who == name] == list(range(2000))
    assert all(each.stat().st_size > 10_000 for each in files if each != path), "none is renamed twice"


@pytest.mark.parametrize("way", ["create 0600", "nocreate", "copytruncate"])
def test_logrotate_without_a_signal(way: str, new: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "GONE", 0.0 if way == "nocreate" else 20.0)
    file = new()
    file.write("one")
    rules = file.path.with_name("rules")
    rules.write_text(f"{file.path} {{\n  rotate 3\n  {way}\n}}\n")
    rules.chmod(0o600)
    rotate = [program("logrotate"), "--force", "--state", str(file.path.with_name("state")), str(rules)]
    subprocess.run(rotate, check=True, timeout=20)
    file.write("two")
    subprocess.run(rotate, check=True, timeout=20)
    file.write("three")
    assert [file.lines(name) for name in ("log.2", "log.1", "log")] == [["one"], ["two"], ["three"]]
