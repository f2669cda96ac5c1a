"""The settings of a provider by which texts are sent. They are the same for every provider."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from protocols.server import SETTINGS_CONFIG
from protocols.sms.quiet_hours import QuietHours
from protocols.units import Length, Timeout


@dataclass(frozen=True, kw_only=True)
class SendingSettings:
    """How texts leave by this provider."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    rate: float = 30.0
    """The most texts in a second, in each process; further ones wait."""
    sender_rate: float = 10.0
    """The most texts in a second from one number or name of yours. Carriers allow some kinds of numbers 1 only."""
    failover: tuple[str, ...] = ()
    """Other servers for texts, by name, that send what this provider has certainly not taken: it is down, says that it
    is busy, or refuses the account."""
    quiet_hours: str = ""
    """When texts wait, such as `21:00-08:00`. Answers to a text are sent at once. Default: never."""
    time_zone: str = ""
    """The time zone of `quiet_hours`, such as `Europe/London`. Default: that of each recipient's number, or of this
    machine, where the number has none."""
    ascii_punctuation: bool = False
    """Replace curly quotes, long dashes and the like where that makes a text GSM-7, and so shorter."""
    receipts: bool = True
    """Ask the provider for delivery receipts, where it wants to be asked and `public_url` is set."""
    max_media: Length = 1024 * 1024
    """The most bytes of all files of one text. Carriers refuse larger ones."""
    media_expiry: Timeout = 3600.0
    """How long the provider can fetch a file, from when the text is sent."""

    def __post_init__(self) -> None:
        """Raises ValueError for a rate that is none, and for hours or a time zone that do not exist."""
        for key in ("rate", "sender_rate"):
            if not 0.001 <= getattr(self, key) <= 10_000:
                raise ValueError(f"{key} is {getattr(self, key):g}; write texts in a second, from 0.001 to 10000")
        if self.quiet_hours:
            QuietHours.parse(self.quiet_hours, self.time_zone)
        elif self.time_zone:
            raise ValueError("time_zone is for quiet_hours; write quiet_hours: 21:00-08:00, too")

    @cached_property
    def quiet(self) -> QuietHours | None:
        return QuietHours.parse(self.quiet_hours, self.time_zone) if self.quiet_hours else None


def sending_of(settings: Any) -> SendingSettings:
    """Return the settings of a provider by which texts are sent: the defaults for one that has none."""
    found: SendingSettings = getattr(settings, "sending", DEFAULT)
    return found


DEFAULT = SendingSettings()
