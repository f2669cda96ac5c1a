"""What the running gateway says about something that `gateway send` sends to it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from gateway.control.client import ControlError, Conversation

PATIENCE = 2.0
"""Seconds for the gateway to tell what became of something that it has answered."""
REFUSED = 0.3
"""The same, if it has refused it: then no application may have seen it."""


class Heard:
    """Hears what arrives, by the control socket, while it is the context."""

    def __init__(self, beside: Iterable[Path]) -> None:
        self._beside = beside
        self._conversation: Conversation | None = None
        self.trouble = ""
        """Why nothing can be heard, in one sentence."""

    def __enter__(self) -> Self:
        try:
            self._conversation = Conversation(self._beside, {"do": "tail", "follow": True})
            if not self._answer("listening", PATIENCE):
                self.trouble = f"the gateway does not answer within {PATIENCE:g} s"
        except ControlError as error:
            self.trouble = str(error)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._conversation is not None:
            self._conversation.__exit__(*error)

    def arrival(self, arrives_as: Mapping[str, str], *, taken: bool) -> dict[str, Any] | None:
        """Return the facts of the arrival that has these; None if the gateway does not tell of one."""
        if not arrives_as or self.trouble:
            return None
        try:
            found: dict[str, Any] | None = self._answer("arrival", PATIENCE if taken else REFUSED, arrives_as)
            return found
        except ControlError as error:
            self.trouble = str(error)
            return None

    def _answer(self, key: str, seconds: float, facts: Mapping[str, Any] = {}) -> Any:
        """Wait for an answer with ``key``, whose value has all of ``facts``."""
        assert self._conversation is not None
        for answer in self._conversation.answers(seconds):
            if key in answer and (not facts or facts.items() <= answer[key].items()):
                return answer[key]
        return None


def in_words(arrival: Mapping[str, Any]) -> str:
    """``sensors/+ -> sensors.Handler took it: acknowledged, 2.3 ms``."""
    if not arrival["target"]:
        return "no route took it"
    route = f"{arrival['route']} -> {arrival['target']}" if arrival["route"] else arrival["target"]
    error = f", {arrival['error']}" if arrival["error"] else ""
    return f"{route} took it: {arrival['verdict']}, {arrival['seconds'] * 1000:.1f} ms{error}"
