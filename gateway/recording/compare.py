"""Compares what became of recorded arrivals with what becomes of them now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.recording.entry import CONTENT, Entry

_AGAIN = "next in "
"""The beginning of a verdict that says when it is tried again. The pause may be another one."""
_REFUSALS = ("3", "4", "rejected")
"""How the verdict begins on somebody who has not logged in."""


STORED = "stored"
"""The verdict on a message that is handled from the store."""


class Became(NamedTuple):
    """What became of an arrival."""

    answer: str
    """The verdict that its sender got."""
    outcome: str = ""
    """What the first attempt came to, if it was stored. Empty: it is not known."""
    target: str = ""
    """What took it."""
    error: str = ""

    def __str__(self) -> str:
        words = f"{self.answer}, then {self.outcome}" if self.outcome else self.answer
        return f"{words} ({self.error})" if self.error else words

    def differs(self, other: "Became") -> bool:
        """Whether the verdicts differ, as far as both are known."""
        outcomes = self.outcome and other.outcome and _steady(self.outcome) != _steady(other.outcome)
        return _steady(self.answer) != _steady(other.answer) or bool(outcomes)


def _steady(verdict: str) -> str:
    return _AGAIN if verdict.startswith(_AGAIN) else verdict


@dataclass(frozen=True)
class Difference:
    """A recorded arrival whose verdict is another one now. It is here without its content: there may be many."""

    facts: Mapping[str, Any]
    left_out: Sequence[str]
    then: Became
    now: Became

    @property
    def is_doubtful(self) -> bool:
        """Whether it may differ for the reason alone that something was left out of the recording: the content, or
        secrets, and it is refused now."""
        is_refused = not self.now.error and self.now.answer.startswith(_REFUSALS)
        return CONTENT in self.left_out or (is_refused and bool(self.left_out))

    def data(self) -> dict[str, Any]:
        facts = {name: self.facts[name] for name in ("time", "type", "id", "who", "what")}
        return {**facts, "then": self.then._asdict(), "now": self.now._asdict(), "left_out": list(self.left_out)}


class Past:
    """What became of the entries of a recording when they arrived."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        attempts = (entry.facts for entry in entries if entry.facts["attempt"] == 1)
        self._attempts: Mapping[str, Mapping[str, Any]] = {facts["id"]: facts for facts in attempts}

    def of(self, entry: Entry) -> Became:
        facts = entry.facts
        attempt = self._attempts.get(facts["id"], {})
        error = attempt.get("error") or facts["error"]
        return Became(facts["verdict"], attempt.get("verdict", ""), facts["target"], error)
