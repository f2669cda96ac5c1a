"""The numbers of arrivals in several workers of one gateway."""

from own_services import installed
from told_arrivals import arrival

from gateway.arrivals import Arrivals, arrivals
from gateway.control.recent import MOST, Recent


def remembering(slot: int, workers: int, count: int) -> Recent:
    """What a worker remembers after ``count`` arrivals."""
    recent, here = Recent(), Arrivals()
    recent.slot, recent.workers = slot, workers
    with installed({arrivals: here}):
        recent.start()
    for number in range(count):
        here.tell(arrival(number))
    here.close()
    return recent


def test_no_two_workers_have_a_number_in_common() -> None:
    """There may be 256, and all are as busy as can be."""
    found = [number for slot in (0, 1, 64, 128, 255) for number, _ in remembering(slot, 256, MOST).numbered()]
    assert len(found) == len(set(found)) == 5 * MOST


def test_a_number_is_no_later_than_now_also_under_load() -> None:
    """Otherwise a client that comes back with it would get all arrivals once more."""
    recent = remembering(1, 2, 20 * MOST)
    numbers = [number for number, _ in recent.numbered()]
    assert numbers == sorted(numbers)
    assert recent.knows(numbers[-1])


def test_what_was_forgotten_long_before_is_not_missed() -> None:
    recent = remembering(0, 2, 10)
    _, (first, _), *_ = recent.numbered()
    here = Arrivals()
    with installed({arrivals: here}):
        recent.start()
    for number in range(20 * MOST):
        here.tell(arrival(number))
    (oldest, _), *_ = recent.numbered()
    assert 19 * MOST <= recent.missed(first) <= 20 * MOST + 10
    for number in range(2 * MOST):
        here.tell(arrival(number))
    here.close()
    assert 2 * MOST - 1 <= recent.missed(oldest) <= 3 * MOST
