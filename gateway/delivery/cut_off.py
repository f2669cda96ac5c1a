"""The end of a message with which no attempt can succeed."""

from gateway.delivery.policy import Policy


class Explained(Exception):
    """An error whose text says all that there is to know: no code of the application has raised it."""


class Undeliverable(Explained):
    """No attempt can succeed, so that the message is a dead letter at once. The text is a sentence for the operator."""


class CutOff(Undeliverable):
    """Every attempt was cut off, by a kill or a timeout, before its handler could fail or succeed."""

    def __init__(self, attempts: int) -> None:
        super().__init__(f"{attempts} attempts were cut off: the process was killed, or they were cancelled")


def cut_off(policy: Policy, attempt: int) -> CutOff | None:
    """The error of attempt number ``attempt`` if it is one too many; else None.

    Attempts are counted before they begin, so that a message that kills the process is counted out too.
    """
    return CutOff(policy.attempts) if policy.attempts is not None and attempt > policy.attempts else None
