"""A value is counted in the bucket whose bound it does not exceed, as Prometheus' ``le`` says."""

from gateway.histogram import Histogram


def test_values_and_their_buckets() -> None:
    histogram = Histogram((1, 10))
    for value in (0.5, 1, 1.5, 10, 11):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.sum == 24.0
