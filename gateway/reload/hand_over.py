"""This process, which takes over from the one that has started it."""

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn, Self

from gateway.exit_codes import CANNOT_START
from gateway.reload.channel import Channel
from gateway.reload.errors import HandOverFailed
from gateway.reload.predecessor import RemotePredecessor
from gateway.reload.successor import ENVIRONMENT, PROTOCOL
from gateway.runtime.systemd import become_main

_LONGEST = 16384
"""Characters of why it does not serve: a message has to fit into the buffer of its socket."""
_PEER = "the process to be replaced"
ENDED = f"{_PEER} has ended"
LAST = 15.0
"""Seconds for this process to end if the other one ends before this one is the daemon."""


class HandOver:
    """What the two processes tell each other beside what the new gateway asks :attr:`predecessor` for."""

    def __init__(self, channel: Channel, waits: Channel | None) -> None:
        self.predecessor = RemotePredecessor(channel, may_end=False)
        self.process = os.getppid()
        self.waits = waits
        """The way to the process that waits for this one and for its successors, if there is one."""
        self.parent = waits
        """The same, also if it waits for this one alone."""
        self.when_left: Callable[[], object] = _leave
        """Called, on a thread, if the other process ends before this one is ready."""
        self._channel = channel
        self._is_ready = False
        self._counts = False

    @classmethod
    def of_environment(cls) -> Self:
        """Return that of this process. It ends if the other one speaks another version of the protocol."""
        become_main()
        said = os.environ.pop(ENVIRONMENT)
        try:
            version, descriptor, *waits = said.split()  # the first two are so in every version
            channel = Channel.inherited(int(descriptor), _PEER)
        except (ValueError, OSError):
            _fail(f"{ENVIRONMENT} is {said!r}: a gateway sets it for the process that takes over from it; unset it")
        made = cls(channel, None)
        if version != str(PROTOCOL):
            why = f"it hands over by version {version} of the protocol, and this release takes over by {PROTOCOL}"
            made._end(f"{why}: stop it, and start this one")
        if channel.user not in (None, os.geteuid()):
            made._end(f"{_PEER} belongs to user {channel.user}, and the next one to user {os.geteuid()}")
        if waits:
            made.waits = made.parent = Channel.inherited(int(waits[0]))
        channel.send({"do": "hello"})
        threading.Thread(target=made._watch, name="hand-over", daemon=True).start()
        return made

    def failed(self, why: str) -> None:
        """Tell why this process does not serve."""
        self._channel.send({"do": "failed", "why": why[:_LONGEST]})

    async def promoted(self) -> bool:
        """Tell that this process serves, and wait until it counts. Return False if the other one has ended instead.
        Raises HandOverFailed."""
        self._is_ready = True
        self._channel.send({"do": "ready"})
        if (received := await self._channel.receive()) is None:
            return False
        message, _ = received
        alone, adopts = message.get("alone"), message.get("adopts")
        if message["do"] != "promote" or not isinstance(alone, bool) or not isinstance(adopts, bool):
            raise HandOverFailed(f"{_PEER} said {message['do']!r} where it had to say 'promote', 'alone' and 'adopts'")
        self._counts = True
        self._channel.send({"do": "serves"})
        if alone:
            self._channel.close()
        else:
            self.parent = self._channel
            self.waits = self._channel if adopts else None
        return True

    def _end(self, why: str) -> NoReturn:
        self.failed(why)
        sys.exit(CANNOT_START)

    def _watch(self) -> None:
        """Notice the end of the other process, also while a module is imported. This one must end then: the gateway
        that a supervisor starts next needs the addresses."""
        ends = select.poll()
        ends.register(self._channel.descriptor, 0)  # its end is reported without being asked for
        ends.poll()
        if not self._is_ready:
            self.when_left()
        time.sleep(LAST)
        if not self._counts:  # the last message may have made it count
            _leave()


def _leave() -> NoReturn:
    """End from any thread, whatever the others do."""
    sys.stderr.write(f"{ENDED}: this one ends, too\n")
    sys.stderr.flush()
    os._exit(CANNOT_START)


def _fail(why: str) -> NoReturn:
    sys.stderr.write(f"{why}\n")
    sys.exit(CANNOT_START)
