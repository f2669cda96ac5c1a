"""What one client may do, as its connection asks; :class:`protocols.mqtt.access.acl.Rules` answers."""

from typing import Protocol


class Rules(Protocol):
    """The rules for one client."""

    def may_publish(self, topic: str) -> bool: ...
    def may_subscribe(self, topic_filter: str) -> bool: ...
