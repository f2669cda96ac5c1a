"""How often what came of sending, since the process began: for whoever scrapes or asks it."""

from collections import Counter
from typing import Literal

Outcome = Literal["sent", "retried", "refused", "dead"]
"""``refused``: the account was; ``dead``: the message was, or its life is over."""


class Outcomes:
    """Tries to send, by kind and by what came of them."""

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
