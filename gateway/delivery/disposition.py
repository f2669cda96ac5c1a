"""Decides what becomes of a message after an attempt. Pure, and the same for every protocol."""

from dataclasses import dataclass
from typing import Literal

from gateway.delivery.attempt import Outcome
from gateway.delivery.cut_off import Undeliverable
from gateway.delivery.policy import Policy
from gateway.delivery.time_limit import NoThread


@dataclass(frozen=True)
class Disposition:
    """``done``: it is handled. ``again``: after ``wait`` seconds. ``dead``: among the dead letters. ``refused``: its
    sender is told never to send it again."""

    state: Literal["done", "again", "dead", "refused"]
    wait: float = 0.0


def disposition_of(policy: Policy, outcome: Outcome, attempt: int) -> Disposition:
    """Decide what becomes of a message after attempt number ``attempt``. A handler that defers, or finds no free
    thread, is not counted out."""
    if outcome.error is None and not outcome.deferred:
        return Disposition("done")
    if outcome.error is None and outcome.verdict is not None:
        wish = outcome.verdict.get("retry_after")
        return Disposition("again", policy.wait(attempt) if wish is None else wish)
    if isinstance(outcome.error, NoThread):
        return Disposition("again", policy.wait(attempt))
    if policy.on_error == "refuse":
        return Disposition("refused")
    is_last = policy.attempts is not None and attempt >= policy.attempts
    if is_last or policy.on_error == "dead-letter" or isinstance(outcome.error, Undeliverable):
        return Disposition("dead")
    return Disposition("again", policy.wait(attempt))


def in_words(policy: Policy, disposition: Disposition, attempt: int, *, stored: bool) -> str:
    """Describe it for the log line: ``attempt 2 of 5, next in 30 s``. A message that is not ``stored`` comes again when
    its sender repeats it."""
    of = f" of {policy.attempts}" if policy.attempts else ""
    match disposition.state:
        case "again":
            follows = f"next in {disposition.wait:g} s" if stored else "next when its sender repeats it"
        case "dead":
            follows = "now among the dead letters"
        case _:
            follows = "refused"
    return f"attempt {attempt}{of}, {follows}"
