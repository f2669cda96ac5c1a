"""What workers have counted that have died."""

from typing import Any

from gateway.workers.totals import DROPPED, Totals


def runs(number: float) -> dict[str, list[tuple[list[str], Any]]]:
    return {"runs_total": [(["http"], number)]}


def seconds(*counts: int, total: float) -> dict[str, list[tuple[list[str], Any]]]:
    return {"seconds": [([], {"counts": list(counts), "sum": total})]}


def test_what_dead_workers_have_counted_is_added_up() -> None:
    totals = Totals()
    totals.note(1, runs(2))
    totals.note(1, runs(3))
    totals.note(2, runs(4))
    assert totals.gone() == {}
    totals.end(1)
    totals.end(2)
    assert totals.gone() == runs(7)


def test_the_last_of_a_worker_that_does_not_answer_is_known() -> None:
    totals = Totals()
    totals.note(1, runs(3))
    assert totals.last(1) == runs(3)
    assert totals.last(2) == {}


def test_a_worker_that_has_told_nothing_adds_nothing() -> None:
    totals = Totals()
    totals.end(1)
    assert totals.gone() == {}


def test_deaths_are_counted() -> None:
    totals = Totals()
    totals.count_death()
    totals.count_death()
    assert totals.gone() == {"gateway_worker_deaths_total": [([], 2)]}


def test_what_the_relay_of_the_parent_has_dropped_is_added_to_what_dead_workers_have() -> None:
    totals = Totals()
    totals.note(1, {DROPPED: [(["expiry"], 3)]})
    totals.end(1)
    assert totals.gone(relay=2, garbage=0) == {DROPPED: [(["expiry"], 3), (["relay"], 2), (["garbage"], 0)]}


def test_histograms_are_added_bucket_by_bucket() -> None:
    totals = Totals()
    for process in (1, 2):
        totals.note(process, seconds(1, 0, 2, total=1.5))
        totals.end(process)
    assert totals.gone() == seconds(2, 0, 4, total=3.0)


def test_those_of_another_release_with_other_buckets_take_the_place_of_the_old_ones() -> None:
    totals = Totals()
    totals.note(1, seconds(1, 0, total=1.5))
    totals.end(1)
    totals.note(2, seconds(1, 0, 2, total=2.5))
    totals.end(2)
    assert totals.gone() == seconds(1, 0, 2, total=2.5)
