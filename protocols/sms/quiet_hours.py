"""Hours of the night in which texts wait. Pure; the time zone is the recipient's, by the number, or a fixed one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_WRITTEN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_MOST_ZONES = 16
"""A country with more zones in one number range does not exist; it bounds the search."""


@dataclass(frozen=True)
class QuietHours:
    """From ``begin`` to ``end`` of the local day, over midnight if ``end`` is earlier."""

    begin: time
    end: time
    zone: str = ""
    """The name of a time zone; empty for the zone of each recipient's number."""

    @classmethod
    def parse(cls, written: str, zone: str = "") -> "QuietHours":
        """Read ``21:00-08:00``. Raises ValueError, with one sentence."""
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise ValueError(f"quiet_hours is {written!r}; write when they begin and end, such as 21:00-08:00")
        first, minutes, last, last_minutes = (int(part) for part in found.groups())
        begin, end = time(first, minutes), time(last, last_minutes)
        if begin == end:
            raise ValueError("quiet_hours end when they begin; write two times that differ, such as 21:00-08:00")
        if zone:
            check_zone(zone)
        return cls(begin, end, zone)

    def wait(self, number: str, now: float) -> float:
        """Seconds from ``now``, Unix time, until a text to ``number`` may leave; 0 if it may leave now.

        A number whose range has several zones has its quiet hours while any of them has.
        """
        zones, at = self._zones(number), datetime.fromtimestamp(now, UTC)
        for _ in range(_MOST_ZONES):
            ends = [end for zone in zones if (end := self._end(at, zone)) is not None]
            if not ends:
                break
            at = max(ends)
        return max(0.0, at.timestamp() - now)

    def _end(self, at: datetime, zone: tzinfo | None) -> datetime | None:
        """Return the end of the quiet hours that ``at`` is in; None if it is in none. ``zone``: None for the
        machine's."""
        local = at.astimezone(zone)
        clock = local.time().replace(tzinfo=None)
        over_midnight = self.end < self.begin
        if not (clock >= self.begin or clock < self.end if over_midnight else self.begin <= clock < self.end):
            return None
        day = local.date() + timedelta(days=1 if over_midnight and clock >= self.begin else 0)
        end = datetime.combine(day, self.end)
        return (end.astimezone() if zone is None else end.replace(tzinfo=zone)).astimezone(UTC)

    def _zones(self, number: str) -> Sequence[tzinfo | None]:
        if self.zone:
            return [ZoneInfo(self.zone)]
        return _zones_of(number) or [None]


def check_zone(name: str) -> None:
    """Raise ValueError, with one sentence, if there is no time zone ``name`` on this machine."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one such as Europe/London") from error


def _zones_of(number: str) -> list[ZoneInfo]:
    """The zones of an E.164 number; empty for a name, a short code, or a range of no known place."""
    import phonenumbers  # not light, and most files have no quiet hours
    from phonenumbers import timezone

    try:
        names = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return []
    return [zone for name in names if (zone := _known(name)) is not None]


def _known(name: str) -> ZoneInfo | None:
    try:
        return None if name == "Etc/Unknown" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # this machine has no tzdata, or an old one
        return None
