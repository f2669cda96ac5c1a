"""A worker asks, and its parent has been stopped for so long that it reads nothing any more."""

import socket
from contextlib import closing

import psutil
import pytest

from gateway.control.server import Unavailable
from gateway.reload.channel import Channel
from gateway.reload.errors import HandOverFailed
from gateway.workers.link import Link


async def test_what_cannot_be_asked_is_unavailable_and_leaves_nothing_open() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        channel = Channel(ours, "the parent process")
        with pytest.raises(HandOverFailed):
            while True:
                channel.send({"do": "alive"})
        before = psutil.Process().num_fds()
        with pytest.raises(Unavailable, match="the parent process does not answer"):
            await Link(channel, 0).gather({"do": "snapshot"})
        await Link(channel, 0).last({})
        assert psutil.Process().num_fds() == before
