"""Snapshots are plain values, and those of several processes add up."""

import json

from gateway.metrics.family import Family, Sample, counter, gauge, histogram, info
from gateway.metrics.snapshot import LONGEST_LABEL, MOST_SERIES, Series, Snapshot, cumulative, join

REQUESTS = counter("gateway_requests_total", "Help.", "server")
READY = gauge("gateway_ready", "Help.", joined="max")
OPEN = gauge("gateway_open", "Help.")
WAIT = histogram("gateway_wait_seconds", "Help.", "server", bounds=(0.1, 1.0))
BUILD = info("gateway_build_info", "Help.", "version")
FAMILIES: dict[str, Family] = {each.name: each for each in (REQUESTS, READY, OPEN, WAIT, BUILD)}


def taken(*samples: Sample) -> Snapshot:
    """As it comes from another process."""
    series = Series()
    for sample in samples:
        series.add(sample)
    plain: Snapshot = json.loads(json.dumps(series.snapshot()))
    return plain


def of(snapshot: Snapshot) -> dict[str, dict[tuple[str, ...], object]]:
    return {name: {tuple(labels): value for labels, value in series} for name, series in snapshot.items()}


def worker(requests: int, ready: int, counts: list[int]) -> Snapshot:
    return taken(
        REQUESTS.sample(requests, "web"),
        READY.sample(ready),
        OPEN.sample(2),
        WAIT.sample({"counts": counts, "sum": 0.5}, "web"),
        BUILD.sample(1, "0.1"),
    )


def test_each_kind_is_joined_by_its_own_rule() -> None:
    joined = of(join(FAMILIES, [worker(3, 0, [1, 0, 2]), worker(4, 1, [0, 5, 1]), taken(REQUESTS.sample(1, "shop"))]))
    assert joined == {
        "gateway_requests_total": {("web",): 7, ("shop",): 1},
        "gateway_ready": {(): 1},
        "gateway_open": {(): 4},
        "gateway_wait_seconds": {("web",): {"counts": [1, 5, 3], "sum": 1.0}},
        "gateway_build_info": {("0.1",): 1},
    }


def test_a_worker_that_has_died_keeps_its_counters_and_loses_its_gauges() -> None:
    dead = cumulative(FAMILIES, worker(3, 1, [1, 0, 2]))
    joined = of(join(FAMILIES, [dead, worker(4, 1, [0, 5, 1])]))
    assert joined["gateway_requests_total"] == {("web",): 7}
    assert joined["gateway_open"] == {(): 2}
    again = of(join(FAMILIES, [cumulative(FAMILIES, join(FAMILIES, [dead, worker(4, 1, [0, 0, 0])])), dead]))
    assert again["gateway_requests_total"] == {("web",): 10}


def test_joining_changes_none_of_them() -> None:
    one, other = worker(3, 1, [1, 0, 2]), worker(4, 1, [0, 5, 1])
    before = json.dumps([one, other])
    join(FAMILIES, [one, other])
    assert json.dumps([one, other]) == before


def test_what_another_version_has_is_left_out() -> None:
    strange: Snapshot = {
        "gateway_of_tomorrow": [([], 1)],
        "gateway_requests_total": [(["web", "extra"], 5), (["web"], 2)],
        "gateway_wait_seconds": [(["web"], {"counts": [1, 2], "sum": 1.0})],
    }
    assert of(join(FAMILIES, [strange])) == {
        "gateway_requests_total": {("web",): 2},
        "gateway_wait_seconds": {},
    }


def test_a_million_series_cannot_be_made() -> None:
    series = Series()
    for number in range(100_000):
        series.add(REQUESTS.sample(1, f"server {number}"))
    found = of(series.snapshot())["gateway_requests_total"]
    assert len(found) == MOST_SERIES + 1
    assert found["other",] == 100_000 - MOST_SERIES
    assert found["server 1",] == 1


def test_a_label_has_a_length() -> None:
    found = of(taken(REQUESTS.sample(1, "x" * 10_000)))["gateway_requests_total"]
    assert list(found) == [("x" * LONGEST_LABEL,)]
