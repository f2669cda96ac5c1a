"""Messages between the processes of ``--reload``."""

import contextlib
import os
import socket

from gateway.reload.channel import Channel


def test_a_message_to_a_process_that_has_ended_is_lost() -> None:
    """Also before the supervisor has heard of the end: a signal comes at any time."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.close()
    channel.send({"do": "resume"})
    channel.close()
    channel.send({"do": "resume"})


def test_a_socket_that_has_come_does_not_block_nor_do_its_copies() -> None:
    """Whether a socket blocks is one for all its copies, in whatever process: an accept in another one would wait."""
    with contextlib.ExitStack() as opened:
        ours, theirs = (opened.enter_context(contextlib.closing(Channel(end))) for end in socket.socketpair())
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        listening.settimeout(0)
        ours.send({"do": "serve"}, [listening])
        received = theirs.wait()
        assert received is not None
        [adopted] = map(opened.enter_context, received[1])
        opened.enter_context(adopted.dup())
        assert not os.get_blocking(listening.fileno())
