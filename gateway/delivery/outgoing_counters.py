"""Counts how sending has ended since the process began, by scope type and result: for /readyz."""

from collections import Counter
from typing import Literal, get_args

SendingResult = Literal["sent", "retried", "refused", "dead"]
"""``refused``: the account was refused; ``dead``: the message was refused, or is too old."""
RESULTS: tuple[SendingResult, ...] = get_args(SendingResult)


class OutgoingCounters:
    """Numbers of tries to send, by scope type and result."""

    def __init__(self) -> None:
        self.total: Counter[tuple[str, SendingResult]] = Counter()

    def add(self, kind: str, result: SendingResult) -> None:
        self.total[kind, result] += 1

    def by_kind(self) -> dict[str, dict[str, int]]:
        """``{"email": {"sent": 3, "dead": 1}}``"""
        return {
            kind: {result: number for (of, result), number in sorted(self.total.items()) if of == kind}
            for kind in sorted({kind for kind, _ in self.total})
        }
