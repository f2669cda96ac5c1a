"""The memberships of a process in groups, with ``layer=core``."""

import re
from collections.abc import Iterable
from typing import Any

from gateway.layers.address import Redis
from gateway.layers.bus import Topic
from gateway.layers.redis import scripts

_GROUP = re.compile(r"[a-zA-Z0-9\-_.]{1,99}")

Command = tuple[Any, ...]


def check_group(name: str) -> None:
    """Raises TypeError for a name that groups of channels_redis cannot have."""
    if not _GROUP.fullmatch(name):
        raise TypeError(
            f"with layer=core the name of a group has fewer than 100 ASCII letters, digits, hyphens, underscores and "
            f"periods; {name!r:.120} has others"
        )


class Members:
    """This process's memberships: one channel of its own for each group."""

    def __init__(self, address: Redis, process: str) -> None:
        self._address = address
        self._begin = f"specific.{process}!group."
        """What the names of these channels begin with; other channels of the process have no period after the mark."""
        self._of_group: dict[str, str] = {}
        self._of_channel: dict[str, str] = {}
        self._unknown: set[str] = set()
        """Groups that were joined while Redis was away: it does not know that the process is a member."""
        self._left: dict[Command, None] = {}
        """Commands of :meth:`leave` that could not be sent."""
        self._made = 0

    def key(self, group: str) -> str:
        return f"{self._address.prefix}:group:{group}"

    def join(self, group: str) -> Command | None:
        """Return the command; None if it is a member. Raises TypeError for a name that no group can have."""
        if group in self._of_group:
            return None
        check_group(group)
        self._made += 1
        channel = f"{self._begin}{self._made}"
        self._of_group[group], self._of_channel[channel] = channel, group
        return self._joining(group, channel)

    def join_later(self, group: str) -> None:
        """Note that the command of :meth:`join` was not sent, because Redis is away."""
        self._unknown.add(group)

    def leave(self, group: str) -> Command | None:
        """Return the command; None if the channel is not a member, or Redis does not know it as one."""
        if (channel := self._of_group.pop(group, None)) is None:
            return None
        del self._of_channel[channel]
        if group in self._unknown:
            self._unknown.remove(group)
            return None
        return self._leaving(group, channel)

    def leave_later(self, command: Command) -> None:
        """Note a command of :meth:`leave` that could not be sent."""
        self._left[command] = None

    def joining(self) -> list[Command]:
        """Return the commands after which Redis knows the memberships, whatever it knew before."""
        return self._commands(self._of_group)

    def missing(self) -> list[Command]:
        """Return the commands for what was joined and left since :meth:`joining` returned its own commands."""
        return self._commands(self._unknown)

    def note_answered(self, command: Command) -> None:
        self._left.pop(command, None)

    def _commands(self, groups: Iterable[str]) -> list[Command]:
        """Return the commands to join ``groups``, and to leave others. Redis may know all of it from now on."""
        joins = [self._joining(group, self._of_group[group]) for group in groups]
        self._unknown.clear()
        return [*self._left, *joins]

    def leaving(self) -> list[Command]:
        return [self._leaving(*each) for each in self._of_group.items()]

    def topic_of(self, channel: str) -> Topic | None:
        """Return where a message to ``channel`` goes; None if it came to a group that the process has left."""
        if not channel.startswith(self._begin):
            return Topic.of_channel(channel)
        group = self._of_channel.get(channel)
        return None if group is None else Topic.of_group(group)

    def _joining(self, group: str, channel: str) -> Command:
        return ("EVAL", scripts.JOIN, 1, self.key(group), channel, self._address.group_expiry)

    def _leaving(self, group: str, channel: str) -> Command:
        return ("ZREM", self.key(group), channel)
