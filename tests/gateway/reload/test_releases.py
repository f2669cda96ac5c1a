"""`gateway reload --code` with another release in place: it takes over, or the old process says why not and serves.

A release is a copy of this one with a change.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.ports import free_port
from servers.replaced import PAGE, Replaced

from gateway.store.sqlite.sql.schema import MIGRATIONS

ROOT = Path(__file__).parents[3]
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:PORT"}
routes:
  http: release_handlers.page
store: sqlite:gateway.db
"""
SILENT = "the release that is in place now cannot take over from this one. To run it, restart the gateway"
WITHOUT_HAND_OVER = ("gateway/cli/start.py", "if SUCCESSOR in os.environ", "if False")
KNOWN = len(MIGRATIONS)
NEWER_STORE = (
    "gateway/store/sqlite/sql/schema.py",
    '"""Number n makes',
    'MIGRATIONS += ("CREATE TABLE newer (key);",)\n"""Number n makes',
)


def release(folder: Path, change: tuple[str, str, str]) -> Path:
    """Make a release that differs by ``change``: a module, what it says, and what it says there."""
    for each in ("gateway", "protocols"):
        shutil.copytree(ROOT / each, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
    name, before, after = change
    text = (folder / name).read_text()
    assert before in text
    (folder / name).write_text(text.replace(before, after, 1))
    return folder


class Installed:
    """A gateway that runs by one release, while another one is put in its place."""

    def __init__(self, folder: Path, first: Path) -> None:
        self._libraries = folder / "libraries"
        self._libraries.symlink_to(first)
        files = {"gateway.yaml": FILE, "release_handlers.py": PAGE}
        self.running = Replaced(folder, files, PYTHONPATH=str(self._libraries))

    def install(self, other: Path) -> None:
        self._libraries.unlink()
        self._libraries.symlink_to(other)


@contextlib.contextmanager
def installed(folder: Path, first: Path, other: Path) -> Iterator[Replaced]:
    made = Installed(folder, first)
    try:
        made.install(other)
        yield made.running
    finally:
        made.running.close()


CASES = {
    "another protocol": (
        ("gateway/reload/successor.py", "PROTOCOL = 2\n", "PROTOCOL = 3\n"),
        "it hands over by version 2 of the protocol, and this release takes over by 3: stop it, and start this one",
    ),
    "no hand-over": (WITHOUT_HAND_OVER, f"the next process ended with code 3, and said nothing: {SILENT}"),
    "broken": (
        ("gateway/reload/hand_over.py", "import os", "import os os"),
        f"the next process ended with code 1, and said nothing: {SILENT}",
    ),
    "broken later": (
        ("gateway/reload/successor_daemon.py", "self._check_store()", "self._no_such_thing()"),
        "cannot start: AttributeError: 'SuccessorDaemon' object has no attribute '_no_such_thing'",
    ),
    "broken while it builds": (
        ("gateway/runtime/build.py", "    settings = parsed.settings\n", "    settings = parsed.no_such_thing\n"),
        "cannot start: AttributeError: 'ParsedConfig' object has no attribute 'no_such_thing'",
    ),
    "newer store": (
        NEWER_STORE,
        f"cannot start: gateway.db: it has version {KNOWN}, and this release makes version {KNOWN + 1} of it, "
        "which the process that uses it could not open again: restart that",
    ),
}


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=CASES)
def test_a_release_that_does_not_take_over_changes_nothing(
    tmp_path: Path, change: tuple[str, str, str], told: str
) -> None:
    with installed(tmp_path, ROOT, release(tmp_path / "other", change)) as running:
        serves = running.answer()
        said = running.reload()
        assert said.returncode == 1
        assert told in said.stderr.splitlines()[0]
        assert said.stderr.splitlines()[-1] == f"Process {serves} keeps running."
        assert running.answer() == serves


def test_a_restart_runs_the_release_that_could_not_take_over(tmp_path: Path) -> None:
    """As the sentence says."""
    with installed(tmp_path, ROOT, release(tmp_path / "other", NEWER_STORE)) as running:
        assert "restart that" in running.reload().stderr
        running.process.terminate()
        assert running.process.wait(20) == 0
        running.start()
        assert running.answer() == str(running.process.pid)


def test_an_older_release_does_not_take_over_with_a_newer_store(tmp_path: Path) -> None:
    with installed(tmp_path, release(tmp_path / "newer", NEWER_STORE), ROOT) as running:
        serves = running.answer()
        said = running.reload()
        refused = f"it has version {KNOWN + 1} and this release knows {KNOWN}; run the newer release again"
        assert refused in said.stderr
        assert running.answer() == serves


def test_a_release_that_serves_beside_the_old_one_is_ended(tmp_path: Path) -> None:
    """It knows of no hand-over, and its file has other addresses."""
    first = release(tmp_path / "first", ("gateway/reload/successor.py", "FIRST_WORD = 30.0", "FIRST_WORD = 8.0"))
    other = free_port()
    with installed(tmp_path, first, release(tmp_path / "other", WITHOUT_HAND_OVER)) as running:
        serves = running.answer()
        running.write("gateway.yaml", FILE.replace("PORT", str(other)))
        said = running.reload()
        assert said.stderr.splitlines() == [
            f"the next process said nothing within 8 s: {SILENT}",
            f"Process {serves} keeps running.",
        ]
        assert running.answer() == serves
        assert len(running.processes()) == 1
