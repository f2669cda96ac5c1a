"""Errors of the application (local), of the peer (remote), and of sending."""

from collections.abc import Callable, Mapping
from typing import Any


class LocalProtocolError(Exception):
    """The application broke the rules of its scope: an unknown or out-of-order event, or a missing key.

    It is raised by ``send`` and ``receive``. An application that does not catch it crashes.
    """


class OutOfOrder(LocalProtocolError):
    """The event may be sent in other states of its scope, and not in this ``state``."""

    def __init__(self, message: str, state: str) -> None:
        super().__init__(message)
        self.state = state


class RemoteProtocolError(Exception):
    """The peer broke the rules of its protocol.

    ``answer`` is the protocol's answer to such a peer before the connection is closed, in bytes or as a code (an HTTP
    status, an SMTP reply code, an MQTT return code); None if the protocol has no answer.
    """

    def __init__(self, message: str, *, answer: int | bytes | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class Disconnected(OSError):
    """The peer is gone, and the event reached nobody.

    It is an ``OSError``, as the ASGI specification (HTTP & WebSocket, 2.4) requires of ``send`` after a disconnect. An
    application need not catch it: it ends the run, and is not a crash.
    """


class Away(Disconnected):
    """The peer cannot be reached from here now. Another host may reach it.

    ``is_back`` says whether it can be reached again, and costs next to nothing.
    """

    def __init__(self, message: str, is_back: Callable[[], bool]) -> None:
        super().__init__(message)
        self.is_back = is_back


_MISTAKES = (NameError, AttributeError, TypeError, LookupError, ArithmeticError, AssertionError)
"""Errors of wrong code. If one is raised while a Disconnected is handled, the clean-up has crashed."""


def is_disconnect(error: BaseException) -> bool:
    """Whether ``error`` is a Disconnected, or stands for one: raised from one, or while one is handled, or a group of
    nothing else."""
    return _comes_from_one(error, set())


def _comes_from_one(error: BaseException | None, seen: set[int]) -> bool:
    """``seen``: an error that was taken out of its group, as Starlette does, has that group as its context."""
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
    """An event was not sent, and a later attempt may succeed. The message is one sentence without secrets or content.

    ``retry_after`` is the number of seconds for which the other side wants nothing more from us, if it said so. If a
    part was sent, ``left`` describes the rest: the keys of the event that differ for it. If another part was refused
    for good, ``refused`` is the failure of that part, with its own ``left``.
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


class OutcomeUnknown(NotSent):
    """The other side may have taken the event: it was asked, and its answer is lost, or says nothing about that."""


class NotYet(NotSent):
    """The event was not tried: it waits ``wait`` seconds, or goes another way, as ``left`` says. That is no failure."""

    def __init__(self, message: str, wait: float, *, left: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, left=left)
        self.wait = wait


class PermanentFailure(NotSent):
    """The other side refuses this message for good: its recipient, its content, its size. It may take others."""


class AccountRefused(NotSent):
    """The other side refuses everything from us: because of the login, the balance, a permission, or the address in our
    settings. Until somebody repairs that, nothing can be sent the same way."""

    repaired: Callable[[], bool] | None = None
    """Whether somebody may have repaired it since, for a failure where that can be seen: a file has changed. It costs a
    stat at most."""


class BindError(OSError):
    """A listener cannot bind its address. The message is one sentence for the operator."""


def describe_error(error: BaseException) -> str:
    """``KeyError: 'order'``: the class and the first line of what it says."""
    try:
        text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().partition("\n")[0]
    except Exception:  # its own __str__
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
