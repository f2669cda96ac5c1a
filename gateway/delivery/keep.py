"""How long what handlers send is tried."""

from dataclasses import dataclass
from typing import Any, ClassVar

from protocols.server import SETTINGS_CONFIG
from protocols.units import Timeout

_DAY = 86400.0


@dataclass(frozen=True)
class Keep:
    """How long what handlers send is tried, from its commit on. What has not left by then is dead after its next
    failure. What an account refuses (a login, a balance) is kept without an end."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    email: Timeout = 5 * _DAY
    """Mail."""
    sms: Timeout = 1 * _DAY
    """Texts: a day later few are of use."""
    mqtt: Timeout = 5 * _DAY
    """Publications to a broker."""

    @classmethod
    def all(cls, seconds: float) -> "Keep":
        """The same for every kind."""
        return cls(seconds, seconds, seconds)

    def of(self, kind: str) -> float:
        """Seconds for ``kind``: ``email``, ``sms`` or ``mqtt``."""
        seconds: float = getattr(self, kind, 5 * _DAY)
        return seconds
