"""Counts how attempts at stored messages have ended, since the gateway was built."""

ENDS = ("done", "rejected", "retried", "dead")
"""``rejected``: by its handler, after its sender was told that it was taken."""


class DeliveryCounters:
    """Attempts by their end."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = dict.fromkeys(ENDS, 0)
