"""Reads invitations (iCalendar, RFC 5545; iTIP, RFC 5546), as far as a person needs to know them. Never raises."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from protocols.mail.message.address import Address
from protocols.mail.message.windows_zones import WINDOWS_ZONES

LONGEST = 256 * 1024
"""Bytes of a calendar that are read."""
MOST = 100
"""Events of a calendar that are returned."""

_FOLD = re.compile(rb"\r?\n[ \t]")
_LINE = re.compile(
    r"([A-Za-z0-9-]{1,60})((?:;[^:;\"]{0,500}(?:\"[^\"]{0,500}\"[^:;\"]{0,500})?){0,20}):(.*)", re.DOTALL
)
_PARAMETER = re.compile(r";([A-Za-z0-9-]{1,60})=(\"[^\"]{0,500}\"|[^;:\"]{0,500})")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_TIME = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?(Z)?)?")


@dataclass(frozen=True)
class Invitation:
    """One event of a calendar that the mail carries."""

    method: str
    """``REQUEST``, ``CANCEL``, ``REPLY`` or another of iTIP's methods; empty if it names none."""
    uid: str
    """The same in every mail about this event."""
    summary: str
    start: datetime | date | None
    """A date for an event of whole days. A datetime without a time zone is in ``time_zone``, which is neither in the
    time zone database nor Windows' name of one, or in everyone's own."""
    end: datetime | date | None
    time_zone: str
    """The time zone's name as the invitation has it; empty for UTC."""
    organizer: Address
    """An empty str if it names none."""


def unfolded(calendar: bytes) -> bytes:
    """Return ``calendar`` with whole lines. A fold may divide the bytes of a character (RFC 5545, 3.1)."""
    return _FOLD.sub(b"", calendar[:LONGEST])


def invitations(calendar: str, method: str = "") -> Iterator[Invitation]:
    """Yield the events of ``calendar``, which is unfolded. ``method`` is that of the Content-Type, if the calendar has
    none."""
    event: dict[str, tuple[dict[str, str], str]] | None = None
    inside = 0
    found = 0
    for name, parameters, value in _lines(calendar):
        if name == "METHOD":
            method = value.strip().upper()[:50]
        elif (name, value.strip().upper()) == ("BEGIN", "VEVENT"):
            event, inside = {}, 0
        elif name in ("BEGIN", "END") and event is not None:
            inside += 1 if name == "BEGIN" else -1
            if inside < 0:
                yield _invitation(event, method)
                event, found = None, found + 1
                if found == MOST:
                    return
        elif event is not None and not inside:  # an alarm inside the event has a summary of its own
            event.setdefault(name, (parameters, value))


def _lines(calendar: str) -> Iterator[tuple[str, dict[str, str], str]]:
    for line in calendar.splitlines():
        found = _LINE.fullmatch(line)
        if found:
            parameters = {name.upper(): value.strip('"') for name, value in _PARAMETER.findall(found[2])}
            yield found[1].upper(), parameters, found[3]


def _invitation(event: dict[str, tuple[dict[str, str], str]], method: str) -> Invitation:
    def text(name: str) -> str:
        value = event.get(name, ({}, ""))[1]
        return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value).strip()

    start, end = event.get("DTSTART", ({}, "")), event.get("DTEND", ({}, ""))
    parameters, organizer = event.get("ORGANIZER", ({}, ""))
    bare = re.sub(r"^\s*mailto:", "", organizer, flags=re.IGNORECASE).strip()[:998]
    return Invitation(
        method=method.upper(),
        uid=text("UID"),
        summary=text("SUMMARY"),
        start=_time(*start),
        end=_time(*end),
        time_zone=start[0].get("TZID", ""),
        organizer=Address(bare if "@" in bare else "", parameters.get("CN", "")),
    )


def _time(parameters: dict[str, str], value: str) -> datetime | date | None:
    found = _TIME.fullmatch(value.strip())
    if found is None or found[1] in ("0001", "9999"):  # the time zone of an application may lead out of these years
        return None
    year, month, day, hour, minute, second, utc = found.groups()
    with suppress(ValueError):
        if hour is None:
            return date(int(year), int(month), int(day))
        zone = UTC if utc else _zone(parameters.get("TZID", ""))
        return datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=zone)
    return None


def _zone(name: str) -> ZoneInfo | None:
    """Return the time zone of that name: the database's own or Windows'; some programs put a path before it."""
    name = name.strip("/ ")[:100]
    parts = name.split("/")
    for known in dict.fromkeys((WINDOWS_ZONES.get(name, name), "/".join(parts[-3:]), "/".join(parts[-2:]))):
        with suppress(KeyError, OSError, ValueError):  # there is no such zone, or it is a folder of the system's data
            return ZoneInfo(known)
    return None
