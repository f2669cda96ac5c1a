"""Quiet hours are those of the recipient's own clock, over midnight, over a change of the clocks."""

from datetime import UTC, datetime

import pytest

from protocols.sms.quiet_hours import QuietHours


def at(written: str) -> float:
    return datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("hours", "zone", "number", "now", "end"),
    [
        ("21:00-08:00", "", "+14155550100", "2026-01-15T06:00", "2026-01-15T16:00"),  # 22:00 in California
        ("21:00-08:00", "", "+14155550100", "2026-01-15T15:59", "2026-01-15T16:00"),
        ("21:00-08:00", "", "+14155550100", "2026-01-15T16:00", None),
        ("21:00-08:00", "", "+33612345678", "2026-01-15T20:00", "2026-01-16T07:00"),  # 21:00 in Paris
        ("21:00-08:00", "", "+33612345678", "2026-01-15T19:59", None),
        ("12:00-14:00", "Europe/London", "+14155550100", "2026-07-01T11:30", "2026-07-01T13:00"),
        ("12:00-14:00", "Europe/London", "+14155550100", "2026-07-01T13:00", None),
        # The clocks go forward at 01:00 UTC: the night is an hour shorter.
        ("21:00-08:00", "Europe/London", "+447700900123", "2026-03-28T21:00", "2026-03-29T07:00"),
        ("21:00-08:00", "Europe/London", "68849", "2026-03-27T21:00", "2026-03-28T08:00"),
        # 02:30 does not exist on that day.
        ("00:30-02:30", "Europe/Berlin", "+491", "2026-03-29T00:30", "2026-03-29T01:30"),
        # Kaliningrad to Kamchatka: night in one of eleven zones is night.
        ("21:00-08:00", "", "+78005553535", "2026-01-15T05:30", "2026-01-15T06:00"),
    ],
)
def test_a_text_waits_until_its_recipients_quiet_hours_end(
    hours: str, zone: str, number: str, now: str, end: str | None
) -> None:
    waits = QuietHours.parse(hours, zone).wait(number, at(now))
    assert at(now) + waits == at(end or now)


@pytest.mark.parametrize("number", ["SHOP", "68849", "", "+999123"])
def test_a_recipient_of_no_known_place_has_this_machines_time(number: str) -> None:
    noon = datetime(2026, 1, 15, 12).astimezone().timestamp()
    assert QuietHours.parse("11:00-13:00").wait(number, noon) == 3600
    assert QuietHours.parse("13:00-11:00").wait(number, noon) == 0


@pytest.mark.parametrize(
    ("hours", "zone", "said"),
    [
        ("21-8", "", "write when they begin and end, such as 21:00-08:00"),
        ("24:00-08:00", "", "write when they begin"),
        ("21:00-21:00", "", "end when they begin"),
        ("21:00-08:00", "Europe/Londn", "there is no time zone 'Europe/Londn'"),
        ("21:00-08:00", "../etc/passwd", "there is no time zone"),
    ],
)
def test_hours_that_are_none_are_refused_in_one_sentence(hours: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        QuietHours.parse(hours, zone)
