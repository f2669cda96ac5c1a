"""When the successor of a worker starts, and when no more do."""

from gateway.workers.crashes import MOST, PAUSES, SHORT, Crashes


def after(*ages: float) -> Crashes:
    """Workers of these ages have ended, one after another: each was started when the one before had ended."""
    now = 1000.0
    crashes = Crashes(now=lambda: now)
    for age in ages:
        began, now = now, now + age
        crashes.note(began)
    return crashes


def test_the_first_successor_starts_at_once() -> None:
    assert after().pause == 0
    assert after(1.0).pause == 0
    assert after(SHORT, SHORT + 1).pause == 0


def test_the_pauses_grow_while_workers_end_soon() -> None:
    pauses = [after(*[1.0] * number).pause for number in range(2, 9)]
    assert pauses[0] > 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSES[-1]


def test_so_many_in_a_row_are_a_loop() -> None:
    assert not after(*[1.0] * (MOST - 1)).is_loop
    assert after(*[1.0] * MOST).is_loop


def test_one_that_has_served_begins_the_count_anew() -> None:
    assert not after(1.0, 1.0, 1.0, SHORT, 1.0, 1.0).is_loop
    assert after(1.0, 1.0, SHORT).pause == 0


def test_workers_that_end_together_count_once() -> None:
    """However many there are, one moment is no loop."""
    now = 1000.0
    crashes = Crashes(now=lambda: now)
    for _ in range(MOST - 1):
        began, now = now, now + 1.0
        for _ in range(8):
            crashes.note(began)
    assert not crashes.is_loop
    crashes.note(now)
    assert crashes.is_loop
