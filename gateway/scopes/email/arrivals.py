"""What arrives by mail: messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.arrivals import Watch
from gateway.arrivals.watch import Here
from protocols.app_run import AppRun

_RECEIVE = {"type": "email.receive"}
_Said = tuple[str, str]
"""The label of a route, and its verdict."""


class EmailWatch(Watch):
    """Each group of recipients that a route has given a verdict is an arrival of its own."""

    def __init__(self, here: Here, run: AppRun) -> None:
        super().__init__(here, run)
        self._said: dict[str, _Said] = {}
        """By recipient, where a verdict names it."""
        self._of_the_rest: _Said | None = None

    @classmethod
    def size(cls, scope: Any, event: Any) -> int | None:
        size: int | None = scope.get("size")
        return size

    @classmethod
    def address(cls, scope: Any) -> str:
        return "" if scope.get("transport") == "imap" else super().address(scope)

    def sent(self, event: Any) -> None:
        verdict = event["type"].rpartition(".")[2]
        if verdict not in self.words:
            return
        said = self.label, _in_words(event, self.words[verdict])
        if event.get("rcpt_to") is None:
            self._of_the_rest = said
        else:
            self._said.update(dict.fromkeys(event["rcpt_to"], said))

    def ended(self) -> None:
        error, rest = self.run.error or self.error, self._of_the_rest
        if self.run.error is not None or rest is None:
            rest = self.label, self.words["accept" if error is None else "defer"]
        groups: dict[_Said, list[str]] = {}
        for recipient in self.scope["rcpt_to"]:
            groups.setdefault(self._said.get(recipient, rest), []).append(recipient)
        for (label, verdict), recipients in groups.items() or [(rest, [])]:
            failed = error if verdict != self.words["accept"] else None
            self.tell(_RECEIVE, verdict, label=label, error=failed, scope=_narrowed(self.scope, recipients))


def _narrowed(scope: Mapping[str, Any], recipients: Sequence[str]) -> dict[str, Any]:
    """Return ``scope`` for these recipients alone."""
    narrow = {**scope, "rcpt_to": recipients}
    if "recipients" in scope:
        narrow["recipients"] = [each for each in scope["recipients"] if each["address"] in recipients]
    return narrow


def _in_words(event: Any, verdict: str) -> str:
    if event["type"] == "email.reject":
        return f"{verdict}, {event.get('code', 550)}"
    return "dead" if event.get("failed") else verdict
