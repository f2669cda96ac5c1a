"""The delivery of a message from the store, for the routers and guards that its scope passes through."""

from contextvars import ContextVar
from dataclasses import dataclass

from gateway.delivery.policy import Policy


@dataclass
class DeliveryContext:
    """The guard of the route that takes it says here under which policy."""

    attempt: int
    policy: Policy | None = None
    """None: no route with a policy has taken it."""


class CutOff(Exception):
    """Every attempt was cut off, by a kill or a timeout, before its handler could fail or succeed."""

    def __init__(self, attempts: int) -> None:
        super().__init__(f"{attempts} attempts were cut off: the process was killed, or they were cancelled")


def cut_off(policy: Policy, attempt: int) -> CutOff | None:
    """The error of attempt number ``attempt`` if it is one too many; else None.

    Attempts are counted before they begin, so that a message that kills the process is counted out too.
    """
    return CutOff(policy.attempts) if policy.attempts is not None and attempt > policy.attempts else None


current_delivery: ContextVar[DeliveryContext | None] = ContextVar("current_delivery", default=None)
"""Set by the worker around each delivery; the same object in every task below it."""
