"""Messages between the processes of ``--reload``."""

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
