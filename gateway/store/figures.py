"""What a store tells of its work and of what it holds, for metrics. Every engine gives these."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.histogram import Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALLS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Commits:
    """Counts what one process has committed. Only the thread that commits changes it."""

    __slots__ = ("calls", "failed", "is_failing", "seconds")

    def __init__(self) -> None:
        self.seconds = Histogram(SECONDS)
        """How long each commit took, with its sync."""
        self.calls = Histogram(CALLS)
        """How many calls each commit had in it."""
        self.failed = 0
        """Commits that failed because the store was unavailable."""
        self.is_failing = False
        """Whether that is the state since the last commit."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much a store holds, counted a moment ago."""

    waiting: int = 0
    running: int = 0
    dead: int = 0
    oldest: float | None = None
    """The Unix time at which the oldest message arrived that waits or runs; None if there is none."""
    outgoing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How many items there are, by lane and state: ``waiting``, ``leaving`` or ``dead``."""
    resting: int = 0
    """Lanes that rest until their account is repaired."""
