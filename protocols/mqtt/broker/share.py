"""A shared subscription (MQTT 5, 4.8.2): each message goes to one of its members. Pure."""

from collections import OrderedDict
from typing import Protocol

from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outgoing import Outgoing


class Member(Protocol):
    """What a group needs of a member's session."""

    outgoing: Outgoing | None

    def deliver(
        self, message: ApplicationMessage, grant: Grant, origin: object = None, share: "Share | None" = None
    ) -> None:
        """Deliver ``message`` to the session as a member of ``share``."""


class Share:
    """One group's subscription to one filter. Members take turns; connected members go first."""

    def __init__(self, topic_filter: str) -> None:
        self.topic_filter = topic_filter
        """The filter, including ``$share/`` and the group."""
        self._here: OrderedDict[Member, Grant] = OrderedDict()
        """Connected members, in the order of their turns."""
        self._away: dict[Member, Grant] = {}

    def __bool__(self) -> bool:
        return bool(self._here or self._away)

    def add(self, member: Member, grant: Grant) -> None:
        """Add a member, or move it when its client has connected or disconnected."""
        into, other = (self._away, self._here) if member.outgoing is None else (self._here, self._away)
        other.pop(member, None)
        into[member] = grant

    def remove(self, member: Member) -> None:
        self._here.pop(member, None)
        self._away.pop(member, None)

    def deliver(self, message: ApplicationMessage, grant: Grant, origin: object = None) -> None:
        """Deliver ``message`` to the next member, with the member's own grant. ``grant``, that of the group, is
        ignored."""
        if self._here:
            member = next(iter(self._here))
            self._here.move_to_end(member)
            member.deliver(message, self._here[member], origin, share=self)
        elif self._away:
            member = next(iter(self._away))
            member.deliver(message, self._away[member], origin, share=self)
