"""A shared subscription (MQTT 5, 4.8.2): each message goes to one of its members. Pure."""

from collections import OrderedDict
from typing import Protocol

from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outgoing import Outgoing


class Member(Protocol):
    """A session, as a group sees it."""

    outgoing: Outgoing | None

    def deliver(
        self, message: ApplicationMessage, grant: Grant, origin: object = None, share: "Share | None" = None
    ) -> None:
        """As a member of ``share``."""


class Share:
    """One group's subscription to one filter. Members take turns; those who are connected go first."""

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        """``$share/`` and the group included."""
        self._here: OrderedDict[Member, Grant] = OrderedDict()
        """Connected, in the order of their turns."""
        self._away: dict[Member, Grant] = {}

    def __bool__(self) -> bool:
        return bool(self._here or self._away)

    def add(self, member: Member, grant: Grant) -> None:
        """Also where its client comes or goes."""
        into, other = (self._away, self._here) if member.outgoing is None else (self._here, self._away)
        other.pop(member, None)
        into[member] = grant

    def remove(self, member: Member) -> None:
        self._here.pop(member, None)
        self._away.pop(member, None)

    def deliver(self, message: ApplicationMessage, grant: Grant, origin: object = None) -> None:
        """``grant`` is the group's place among the subscribers, and says nothing: each member has its own."""
        if self._here:
            member = next(iter(self._here))
            self._here.move_to_end(member)
            member.deliver(message, self._here[member], origin, share=self)
        elif self._away:
            member = next(iter(self._away))
            member.deliver(message, self._away[member], origin, share=self)
