"""Who erred: the application (local) or the peer (remote)."""

from collections.abc import Mapping
from typing import Any


class LocalProtocolError(Exception):
    """The application broke the rules of its scope: an unknown or out-of-order event, or a missing key.

    Raised out of ``send`` and ``receive``; left uncaught, it is the application's crash.
    """


class RemoteProtocolError(Exception):
    """The peer broke the rules of its protocol.

    ``answer`` holds the bytes, or the code, that its protocol gives such a peer before the connection closes (an HTTP
    status, an SMTP reply code, an MQTT return code); None where the protocol closes without a word.
    """

    def __init__(self, message: str, *, answer: int | bytes | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class Disconnected(OSError):
    """The peer is gone: what was sent reached nobody.

    An ``OSError``, as the ASGI specification (HTTP & WebSocket, 2.4) asks of ``send`` after a disconnect. An
    application may let it pass: it is the end of the run, not a crash.
    """


_MISTAKES = (NameError, AttributeError, TypeError, LookupError, ArithmeticError, AssertionError)
"""What code raises that is wrong. Raised while a Disconnected is handled, it is a crash in the clean-up."""


def is_disconnect(error: BaseException) -> bool:
    """Whether ``error`` is a Disconnected, or one that a framework has put in its place: its own raised from ours, or
    while it handles ours, or a group of nothing else."""
    return _comes_from_one(error, set())


def _comes_from_one(error: BaseException | None, seen: set[int]) -> bool:
    """``seen``: an error that was taken out of its group, as Starlette does it, has that group for its context."""
    while error is not None:
        if isinstance(error, Disconnected):
            return True
        if id(error) in seen:
            return False
        seen.add(id(error))
        if isinstance(error, BaseExceptionGroup):
            return all(_comes_from_one(each, seen) for each in error.exceptions)
        error = error.__cause__ or (None if isinstance(error, _MISTAKES) else error.__context__)
    return False


class NotSent(Exception):
    """What was to be sent did not leave, and a later try may succeed; the message is one sentence without secrets or
    content.

    ``retry_after`` holds the seconds for which the other side wants nothing more of us; None where it did not say.
    ``left`` tells, where a part has left, what has not: the keys of the event that are different for it.
    ``refused`` is, where another part was refused for good, the failure of that part, with its own ``left``.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        left: Mapping[str, Any] | None = None,
        refused: "PermanentFailure | None" = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.left = left
        self.refused = refused


class PermanentFailure(NotSent):
    """The other side refuses this message for good: its recipient, its content, its size. Others may leave."""


class AccountRefused(NotSent):
    """The other side refuses us, whatever we send: the login, the balance, a right, the address in our settings.
    Somebody has to repair that; until then nothing that goes the same way can leave."""


class BindError(OSError):
    """A listener cannot have its address; the message is one sentence for the operator."""
