"""Which texts get no answer: two programs must not answer each other for ever, and each answer costs money."""

import time
from collections.abc import Callable, Mapping

from gateway.consumers.answer_rate import AnswerRate
from protocols.asgi import SMSScope
from protocols.lazy_names import imported

_E164, _SENDER_TYPE = "protocols.sms.senders:e164", "protocols.sms.senders:sender_type"
"""Imported when there is a text: most files have none."""
OWN, NAME, OPT, SAME, RATE = "own_number", "alphanumeric", "opt", "same_answer", "rate"
WHY: Mapping[str, str] = {
    OWN: "its sender is a number of ours",
    NAME: "its sender is a name, to which no text can be sent",
    OPT: "the provider has answered this STOP, START or HELP itself",
    SAME: "its sender has had this answer {} times within an hour; is it a program?",
    RATE: "its sender has had {} answers within an hour; is it a program?",
}
"""Why a text is not answered; with a number where there is a limit."""


class TextGuard:
    """Counts answers in the memory of this process; of very many senders, those of the ones answered last."""

    def __init__(self, numbers: frozenset[str] = frozenset(), clock: Callable[[], float] = time.monotonic) -> None:
        """``numbers``: those of the servers in the file."""
        self._numbers = frozenset(map(_normal, numbers))
        self._all, self._same = AnswerRate(clock), AnswerRate(clock)
        self.prevented = dict.fromkeys(WHY, 0)
        """How many answers were not sent, by the reason."""

    def unanswerable(self, scope: SMSScope, opt: str | None) -> str:
        """Return why a text must not be answered at all, a key of ``WHY``; empty if it may be. ``opt``: what its sender
        asked for, if the provider has answered that."""
        sender = _normal(scope["sender"])
        if sender in self._numbers or sender == _normal(scope["recipient"]):
            return OWN
        if imported(_SENDER_TYPE)(scope["sender"]) == "alphanumeric":
            return NAME
        return OPT if opt is not None else ""

    def over(self, scope: SMSScope, text: str, answer: str, same: int, most: int) -> tuple[str, bool]:
        """Return which limit the answer ``text`` is over, and whether this is the first in a row; empty if it is over
        none, and then it is counted. ``answer``: an id, by which an answer that is made again counts once."""
        pair = f"{_normal(scope['recipient'])} {_normal(scope['sender'])}"
        reason, (address, first) = SAME, self._same.over([f"{pair} {hash(text)}"], answer, same)
        if not address:
            reason, (address, first) = RATE, self._all.over([pair], answer, most)
        return (reason, first) if address else ("", False)


def _normal(address: str) -> str:
    number: str | None = imported(_E164)(address)
    return number or address
