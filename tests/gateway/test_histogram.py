"""A value is counted in the bucket whose bound it does not exceed, as Prometheus' ``le`` says."""

import pytest

from gateway.histogram import Histogram, quantile


def test_values_and_their_buckets() -> None:
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 1.5, 10, 11):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 24.0


def test_many_values_at_once_are_counted_as_one_by_one() -> None:
    values = [0.5, 1, 1.5, 10, 11, 0.25, 1.0]
    one_by_one, at_once = Histogram((1, 10)), Histogram((1, 10))
    for value in values:
        one_by_one.observe(value)
    at_once.observe_all(values)
    assert at_once.counts == one_by_one.counts
    assert at_once.sum == one_by_one.sum


@pytest.mark.parametrize(
    ("share", "counts", "value"),
    [
        (0.5, (0, 0, 0), None),
        (0.5, (4, 0, 0), 0.5),
        (0.5, (2, 2, 0), 1.0),
        (0.99, (0, 100, 0), 9.91),
        (0.75, (1, 0, 3), 10.0),
        (0.0, (0, 2, 0), 1.0),
        (1.0, (1, 1, 0), 10.0),
    ],
)
def test_quantiles_as_prometheus_interpolates_them(share: float, counts: tuple[int, ...], value: float | None) -> None:
    found = quantile(share, (1.0, 10.0), counts)
    assert found == (value if value is None else pytest.approx(value))
