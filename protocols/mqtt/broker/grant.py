"""What a subscriber asked for, and got. Pure."""

from typing import NamedTuple


class Grant(NamedTuple):
    """What a subscriber asked for, and got (MQTT 5, 3.8.3.1)."""

    qos: int
    no_local: bool = False
    """Not what it has published itself."""
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()
    """The subscription identifiers to send along."""
    own: "Grant | None" = None
    """What counts of several for what the subscriber has published itself, where No Local takes some of them away."""

    @property
    def local(self) -> "Grant | None":
        """What counts of it for what the subscriber has published itself; None where it gets nothing of that."""
        return None if self.no_local else self.own or self

    def merged(self, other: "Grant") -> "Grant":
        """Both filters match a topic, and the message is sent once (3.3.4): at the higher QoS, with all identifiers."""
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
