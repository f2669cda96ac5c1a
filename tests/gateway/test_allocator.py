"""Freed memory is kept for the next piece of a body, and what an operator has set stays."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
from gateway.allocator import KEPT, keep_freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def pieces():
    return [bytearray(256 * 1024) for _ in range(16)]

kept = keep_freed()
pieces()
before = faults()
for _ in range(50):
    pieces()
print(kept, faults() - before)
"""
PIECES = 50 * 16
PAGES_OF_ONE = 64


def faults(**variables: str) -> tuple[str, int]:
    """Return what keep_freed() does, and the page faults of ``PIECES`` pieces after that."""
    command = [sys.executable, "-c", CODE]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True, timeout=60, check=True)
    said, number = done.stdout.split()
    return said, int(number)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other C library has mallopt(3)")
def test_the_pages_of_a_piece_serve_the_next_one() -> None:
    said, number = faults()
    assert said == "True"
    assert number < PIECES * PAGES_OF_ONE / 10


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX"])
def test_what_an_operator_has_set_stays(variable: str) -> None:
    said, _ = faults(**{variable: "131072"})
    assert said == "False"


def test_without_it_each_piece_gets_its_pages_from_the_system() -> None:
    """Else nothing of this would be needed."""
    _, number = faults(MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")
    assert number > PIECES * PAGES_OF_ONE / 2
