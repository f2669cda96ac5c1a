"""The application of a route, as it is run for a message from the store."""

from typing import Any

from gateway.delivery.atomic_part import Atomic, AtomicPart
from gateway.delivery.cut_off import cut_off
from gateway.delivery.policy import Policy
from gateway.delivery.reports import warn_late
from gateway.delivery.time_limit import Limit
from protocols.asgi import Application, Receive, Send


def under_policy(app: Application, policy: Policy, attempt: int, part: AtomicPart | None) -> Application:
    """``app`` for attempt number ``attempt``: within the time of the policy, and in a transaction if it asks for one.
    It raises CutOff if that is one attempt too many."""
    within_limits = policy.timeout is None and (policy.attempts is None or attempt <= policy.attempts)
    limited = app if within_limits else _Limited(app, policy, attempt)
    return Atomic(limited, part) if policy.atomic and part is not None else limited


class _Limited:
    def __init__(self, app: Application, policy: Policy, attempt: int) -> None:
        self._app = app
        self._policy = policy
        self._attempt = attempt
        self.consumer_class = getattr(app, "consumer_class", None)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if (error := cut_off(self._policy, self._attempt)) is not None:
            raise error
        limit = _Reported(scope, self._policy, self._attempt)
        await limit.run(self._app, self._policy.timeout, scope, receive, send)


class _Reported(Limit):
    """Logs that the handler is late and goes on."""

    def __init__(self, scope: Any, policy: Policy, attempt: int) -> None:
        super().__init__()
        self._scope, self._policy, self._attempt = scope, policy, attempt

    def late(self, error: TimeoutError) -> None:
        warn_late(self._scope, error, self._policy, self._attempt)
