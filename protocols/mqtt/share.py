"""A shared subscription (MQTT 5, 4.8.2): each message goes to one of its members. Pure."""

from typing import TYPE_CHECKING

from protocols.mqtt.message import Message
from protocols.mqtt.topics import Grant

if TYPE_CHECKING:
    from protocols.mqtt.session import Session


class Share:
    """One group's subscription to one filter. Members take turns; those who are connected go first."""

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        """``$share/`` and the group included."""
        self._members: dict[Session, Grant] = {}
        self._turns: list[Session] = []
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._members)

    def add(self, session: "Session", grant: Grant) -> None:
        if session not in self._members:
            self._turns.append(session)
        self._members[session] = grant

    def remove(self, session: "Session") -> None:
        if self._members.pop(session, None) is not None:
            self._turns.remove(session)

    def deliver(self, message: Message, grant: Grant, origin: "Session | None" = None) -> None:
        """``grant`` is the group's place among the subscribers, and says nothing: each member has its own."""
        member = self._choose()
        if member is not None:
            member.deliver(message, self._members[member], origin, share=self)

    def _choose(self) -> "Session | None":
        turns = self._turns
        away = None
        for step in range(len(turns)):
            at = (self._next + step) % len(turns)
            if turns[at].outlet is not None:
                self._next = at + 1
                return turns[at]
            away = away or turns[at]
        return away
