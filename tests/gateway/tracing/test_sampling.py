"""What is traced."""

import pytest

from gateway.tracing.sampling import Sampler
from gateway.tracing.settings import parse_ratio


@pytest.mark.parametrize(
    ("ratio", "least", "most"), [(0.0, 0, 0), (0.01, 1500, 2500), (0.5, 98_000, 102_000), (1.0, 200_000, 200_000)]
)
def test_a_share_is_taken(ratio: float, least: int, most: int) -> None:
    """The bounds are eleven and nine standard deviations away."""
    sampler = Sampler(ratio)
    assert least <= sum(sampler.takes() for _ in range(200_000)) <= most


def test_each_of_those_that_come_in_turns_is_taken() -> None:
    """A counter that takes every tenth would always take the same device of ten."""
    sampler = Sampler(0.1)
    taken = {number % 10 for number in range(20_000) if sampler.takes()}
    assert taken == set(range(10))


@pytest.mark.parametrize(("written", "ratio"), [("1%", 0.01), (0.5, 0.5), ("100%", 1.0), (0, 0.0), (" 2.5 % ", 0.025)])
def test_how_a_share_is_written(written: object, ratio: float) -> None:
    assert parse_ratio(written) == ratio


@pytest.mark.parametrize("written", ["101%", -1, 2, "many", "nan", True, None, "", "%", "inf%"])
def test_no_share(written: object) -> None:
    with pytest.raises(ValueError, match="write a share, such as 1%"):
        parse_ratio(written)
