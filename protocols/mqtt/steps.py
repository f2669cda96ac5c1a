"""What the tables of :mod:`protocols.mqtt.qos` and :mod:`protocols.mqtt.handshake` are made of. Pure."""

from collections.abc import Mapping
from typing import NamedTuple


class Step(NamedTuple):
    """One step between two states."""

    state: str
    """The state that follows."""
    answer: str = ""
    """What is sent, or happens, by the name that its module gives it; empty for nothing."""
    rule: str = ""
    """The clause that asks for it; of MQTT 5.0 unless it says otherwise."""


Table = Mapping[str, Mapping[str, Step]]
"""State -> what came -> step. The first state is that at the start."""
