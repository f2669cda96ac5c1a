"""A family of metrics: its name, its kind, its help, its labels."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

Kind = Literal["counter", "gauge", "histogram", "info"]
Joined = Literal["sum", "min", "max"]
UNITS = ("seconds", "bytes", "ratio")
_NAME = re.compile(r"(?:gateway|process)_[a-z][a-z0-9_]*[a-z0-9]")
_ENDS = {"counter": "_total", "info": "_info"}


class Distribution(TypedDict):
    """The value of a histogram's sample."""

    counts: list[int]
    """How many values are in each bucket alone, in the order of the family's bounds; the last has all above them."""
    sum: float


Value = float | Distribution


@dataclass(frozen=True)
class Family:
    """Raises ValueError for a name that Prometheus' conventions forbid."""

    name: str
    help: str
    kind: Kind
    labels: tuple[str, ...] = ()
    joined: Joined = "sum"
    """How the values of several processes become one. Counters and histograms are added up."""
    bounds: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, without the last one, which has none."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not self.help.endswith("."):
            raise ValueError(f"{self.name}: a name is gateway_ or process_ and small letters, a help is a sentence")
        for kind, end in _ENDS.items():
            if self.name.endswith(end) != (self.kind == kind):
                raise ValueError(f"{self.name}: a {kind}, and nothing else, ends with {end}")
        if (self.kind == "histogram") != bool(self.bounds) or list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError(f"{self.name}: a histogram, and nothing else, has bounds, which rise")

    @property
    def unit(self) -> str:
        """``seconds``, ``bytes``, ``ratio``, or nothing, where things are counted."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""

    @property
    def is_cumulative(self) -> bool:
        """Whether its values only grow, so that those of a gateway that has ended still count."""
        return self.kind in ("counter", "histogram")

    def sample(self, value: Value, *labels: str) -> "Sample":
        """Raises ValueError where the number of labels is wrong."""
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {', '.join(self.labels)}, not {labels!r}")
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """The value of one series now."""

    family: Family
    labels: tuple[str, ...]
    value: Value


def counter(name: str, says: str, *labels: str) -> Family:
    return Family(name, says, "counter", labels)


def gauge(name: str, says: str, *labels: str, joined: Joined = "sum") -> Family:
    return Family(name, says, "gauge", labels, joined)


def info(name: str, says: str, *labels: str) -> Family:
    """Its value is 1; what it says is in its labels."""
    return Family(name, says, "info", labels, "max")


def histogram(name: str, says: str, *labels: str, bounds: tuple[float, ...]) -> Family:
    return Family(name, says, "histogram", labels, bounds=bounds)
