"""This process, which takes over from the one that has started it."""

import os
import sys
from typing import Self

from gateway.exit_codes import CANNOT_START
from gateway.reload.channel import Channel
from gateway.reload.predecessor import RemotePredecessor
from gateway.reload.successor import ENVIRONMENT, PROTOCOL
from gateway.runtime.systemd import become_main

_LONGEST = 16384
"""Characters of why it does not serve: a message has to fit into the buffer of its socket."""


class HandOver:
    """What the two processes tell each other beside what the new gateway asks :attr:`predecessor` for."""

    def __init__(self, channel: Channel, waits: Channel | None) -> None:
        self.predecessor = RemotePredecessor(channel, may_end=False)
        self.process = os.getppid()
        self.waits = waits
        """The way to the process that waits for this one and for its successors, if there is one."""
        self.parent = waits
        """The same, also if it waits for this one alone."""
        self._channel = channel

    @classmethod
    def of_environment(cls) -> Self:
        """Return that of this process. It ends if the other one speaks another version of the protocol."""
        become_main()
        version, channel, *waits = os.environ.pop(ENVIRONMENT).split()  # the first two are so in every version
        made = cls(Channel.inherited(int(channel)), None)
        if version != str(PROTOCOL):
            why = f"it hands over by version {version} of the protocol, and this release takes over by {PROTOCOL}"
            made.failed(f"{why}: stop it, and start this one")
            sys.exit(CANNOT_START)
        if waits:
            made.waits = made.parent = Channel.inherited(int(waits[0]))
        return made

    def failed(self, why: str) -> None:
        """Tell why this process does not serve."""
        self._channel.send({"do": "failed", "why": why[:_LONGEST]})

    async def promoted(self) -> bool:
        """Tell that this process serves, and wait until it counts. Return False if the other one has ended instead."""
        self._channel.send({"do": "ready"})
        if (received := await self._channel.receive()) is None:
            return False
        message, _ = received
        if message["alone"]:
            self._channel.close()
        else:
            self.parent = self._channel
            self.waits = self._channel if message["adopts"] else None
        return True
