"""Counts how sending has ended since the process began, by scope type and outcome: for /readyz."""

from collections import Counter
from typing import Literal

Outcome = Literal["sent", "retried", "refused", "dead"]
"""``refused``: the account was refused; ``dead``: the message was refused, or is too old."""


class Outcomes:
    """Numbers of tries to send, by scope type and outcome."""

    def __init__(self) -> None:
        self.total: Counter[tuple[str, Outcome]] = Counter()

    def add(self, kind: str, outcome: Outcome) -> None:
        self.total[kind, outcome] += 1

    def by_kind(self) -> dict[str, dict[str, int]]:
        """``{"email": {"sent": 3, "dead": 1}}``"""
        return {
            kind: {outcome: number for (of, outcome), number in sorted(self.total.items()) if of == kind}
            for kind in sorted({kind for kind, _ in self.total})
        }
