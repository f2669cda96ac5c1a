"""Topic aliases of one MQTT 5 connection: short numbers for topics, each direction with its own (3.3.2.3.4). Pure."""

from protocols.asgi import MQTTReceiveEvent
from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire import reasons

ALIASES = 32
"""Topic aliases that a peer may use, and that we use where a client takes some."""


class Aliases:
    """Ours, to a client that takes ``most`` of them: the first topics that it is sent have one."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = min(most, ALIASES)
        self._known: dict[str, int] = {}

    def alias(self, topic: str) -> tuple[int, bool]:
        """Ours for ``topic``, 0 for none; and whether the client knows it."""
        known = self._known.get(topic)
        if known is not None:
            return known, True
        return (0 if len(self._known) >= self._most else len(self._known) + 1), False

    def named(self, topic: str, alias: int) -> None:
        """A PUBLISH with topic and alias was sent: the client knows it now."""
        self._known[topic] = alias


def resolve(packet: MQTTReceiveEvent, known: dict[int, str]) -> None:
    """Put the topic where the peer wrote its alias; ``known`` are those that it has named.

    Raises RemoteProtocolError for one that it may not use or has not named.
    """
    alias = packet["properties"].pop("topic_alias", None)
    if alias is None:
        return
    if not 1 <= alias <= ALIASES:
        why = f"PUBLISH with topic alias {alias} [MQTT-3.3.2-9]"
        raise RemoteProtocolError(why, answer=reasons.TOPIC_ALIAS_INVALID)
    if packet["topic"]:
        known[alias] = packet["topic"]
    elif alias in known:
        packet["topic"] = known[alias]
    else:
        why = f"PUBLISH with the unknown topic alias {alias} [3.3.2.3.4]"
        raise RemoteProtocolError(why, answer=reasons.PROTOCOL_ERROR)
