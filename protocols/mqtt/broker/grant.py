"""What a subscriber asked for and was granted. Pure."""

from typing import NamedTuple


class Grant(NamedTuple):
    """What a subscriber asked for and was granted (MQTT 5, 3.8.3.1)."""

    qos: int
    no_local: bool = False
    """Whether the subscriber does not want what it has published itself."""
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()
    """The subscription identifiers to send along."""
    own: "Grant | None" = None
    """The part of several merged grants that applies to what the subscriber has published itself, if No Local excludes
    some of them."""

    @property
    def local(self) -> "Grant | None":
        """The part that applies to what the subscriber has published itself; None if it gets nothing of that."""
        return None if self.no_local else self.own or self

    def merged(self, other: "Grant") -> "Grant":
        """Merge it with another grant, whose filter matches the same topic. The message is sent once, with all
        identifiers: "the Server MUST deliver the message to the Client respecting the maximum QoS of all the matching
        subscriptions" (MQTT-3.3.4-2; 3.1.1: 3.3.5-1)."""
        both, mine, theirs = _together(self, other), self.local, other.local
        if both.no_local or (mine is self and theirs is other):
            return both
        return both._replace(own=_together(mine, theirs) if mine and theirs else mine or theirs)


def _together(one: Grant, other: Grant) -> Grant:
    return Grant(
        max(one.qos, other.qos),
        one.no_local and other.no_local,
        one.retain_as_published or other.retain_as_published,
        one.identifiers + other.identifiers,
    )
