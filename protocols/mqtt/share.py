"""A shared subscription (MQTT 5, 4.8.2): each message goes to one of its members. Pure."""

from typing import Protocol

from protocols.mqtt.message import Message
from protocols.mqtt.peer import Outlet
from protocols.mqtt.topics import Grant


class Member(Protocol):
    """A session, as a group sees it."""

    outlet: Outlet | None

    def deliver(self, message: Message, grant: Grant, origin: object = None, share: "Share | None" = None) -> None:
        """As a member of ``share``."""


class Share:
    """One group's subscription to one filter. Members take turns; those who are connected go first."""

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        """``$share/`` and the group included."""
        self._members: dict[Member, Grant] = {}
        self._turns: list[Member] = []
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, member: Member, grant: Grant) -> None:
        if member not in self._members:
            self._turns.append(member)
        self._members[member] = grant

    def remove(self, member: Member) -> None:
        if self._members.pop(member, None) is not None:
            self._turns.remove(member)

    def deliver(self, message: Message, grant: Grant, origin: object = None) -> None:
        """``grant`` is the group's place among the subscribers, and says nothing: each member has its own."""
        member = self._choose()
        if member is not None:
            member.deliver(message, self._members[member], origin, share=self)

    def _choose(self) -> Member | None:
        turns = self._turns
        away = None
        for step in range(len(turns)):
            at = (self._next + step) % len(turns)
            if turns[at].outlet is not None:
                self._next = at + 1
                return turns[at]
            away = away or turns[at]
        return away
