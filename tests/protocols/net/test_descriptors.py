"""The last file descriptors are kept for the console, the store and handlers."""

import contextlib
import os
import resource
from collections.abc import Iterator

import pytest

from protocols.net.descriptors import Descriptors


@pytest.fixture
def limit() -> Iterator[int]:
    """Some more than this process has already."""
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, was[1]))
    yield highest + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, was)


def test_peers_leave_a_reserve_and_come_again_when_there_is_room(limit: int) -> None:
    peers, console = Descriptors(0), Descriptors(0, reserved=True)
    assert limit // 2 < peers.maximum <= limit - 12
    assert console.maximum == limit
    with contextlib.ExitStack() as taken:
        assert peers.are_free()
        while (fd := os.dup(0)) < peers.maximum:
            taken.callback(os.close, fd)
        taken.callback(os.close, fd)
        assert not peers.are_free()
        assert console.are_free(), "the reserve is its own"
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(0))
        assert not console.are_free()
    assert peers.are_free()
    assert console.are_free()


def test_a_small_limit_is_not_all_reserve() -> None:
    was = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, was[1]))
    try:
        assert Descriptors(highest).maximum > highest + 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, was)
