"""A disk of two megabytes that a test may fill."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """``folder`` is where it is mounted."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(b"x" * 4096)

    def empty(self) -> None:
        self._filler.unlink()


def mount(folder: Path, *options: str) -> None:
    """Mount a tmpfs. It takes root, which a developer's machine may not give: there the test is skipped, with a reason
    that stands out. Under CI it fails."""
    command = ["mount", "-t", "tmpfs", *options, "none", str(folder)]
    made = subprocess.run(command, capture_output=True, timeout=10)
    if made.returncode:
        untested = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        untested(f"A DISK THAT IS FULL IS NOT TESTED, mounting a tmpfs is not possible: {made.stderr.decode()}")


def unmounted(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    folder.mkdir()
    mount(folder, "-o", "size=2m")
    try:
        yield SmallDisk(folder)
    finally:
        unmounted(folder)
