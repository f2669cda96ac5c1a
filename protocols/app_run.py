"""One run of an application: from its scope to its end.

Backpressure, order, legal sends, disconnect, crash and cancellation are solved here once, for all protocols. A protocol
makes a subclass that says, in the table :attr:`AppRun.sends`, which event may follow which, and has one method per
event type that turns what the application sent into the protocol's own answer::

    class Call(AppRun):
        sends = {
            "ringing": {"call.answer": "open", "call.refuse": "over"},
            "open": {"call.speak": "open", "call.hang_up": "over"},
        }
        checks = {"call.speak": speak}              # see protocols.events

        def call_answer(self, event): ...           # sync, or returns an awaitable that ``send`` waits for

The table is the state machine: its first key is the state at the start, a state that is only named as a target ends the
conversation. Methods are looked up when the class is created, never by a name that came from outside. They get
the event as its check returned it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from protocols.asgi import Application, ReceiveEvent, Scope, SendEvent, describe
from protocols.checkpoint import checkpoint, checkpoints
from protocols.errors import Disconnected, LocalProtocolError, is_disconnect
from protocols.events import Check, Checks, Table, illegal, missing, type_of

logger = logging.getLogger(__name__)

Answer = Callable[[Any, Any], Awaitable[None] | None]
Step = tuple[str, Answer, Check | None]
"""The state that follows, what does it, what checks the event before."""
DISCONNECT_GRACE = 10.0
"""Of a server without such a setting."""
_NOTHING: dict[str, Step] = {}


class AppRun:
    """One application run over one scope.

    The server calls :meth:`feed` with what the peer says and :meth:`disconnect` once when it is gone, and awaits
    :meth:`run`, which returns when the application has ended, however it ended. The application gets
    :meth:`receive` and :meth:`send`.
    """

    sends: ClassVar[Table] = {}
    """State -> type of the event that may be sent -> state that follows."""
    checks: ClassVar[Checks] = {}
    """By event type: what makes it valid. An event without one goes to its method as it is."""
    limit: ClassVar[int] = 64
    """Events that wait for the application before :meth:`pause` is called; half of it calls :meth:`resume`."""
    _steps: ClassVar[dict[str, dict[str, Step]]] = {}
    _start: ClassVar[tuple[str, dict[str, Step]]] = ("", _NOTHING)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._steps = {
            state: {
                event: (after, getattr(cls, event.replace(".", "_")), cls.checks.get(event))
                for event, after in legal.items()
            }
            for state, legal in cls.sends.items()
        }
        first = next(iter(cls.sends), "")
        cls._start = first, cls._steps.get(first, _NOTHING)

    def __init__(self, app: Application, scope: Scope) -> None:
        self.app = app
        self.scope = scope
        self.state, self._legal = self._start
        self.gone = False
        self.ended = False
        self.error: BaseException | None = None
        self._inbox: deque[ReceiveEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._received = 0
        self._task: asyncio.Task[Any] | None = None
        self._overdue = False
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def disconnect_grace(self) -> float:
        """Seconds without progress after a disconnect before the application is cancelled; 0 for never."""
        return DISCONNECT_GRACE

    # What the server calls.

    async def run(self) -> BaseException | None:
        """Run the application to its end. Return what it crashed with (logged here, once), or None.

        Cancelling the caller cancels the application; only that ``CancelledError`` comes out of here.
        """
        if self._task is None:  # who has made it may have said so, which is cheaper
            self._task = asyncio.current_task()
        try:
            await self.app(self.scope, self.receive, self.send)
        except asyncio.CancelledError as error:
            if self._overdue:
                self._uncancel()
            elif self._task is not None and self._task.cancelling():
                raise
            else:  # the application awaited something that somebody else cancelled
                self._crashed(error)
        except (Exception, BaseExceptionGroup, SystemExit) as error:  # a handler's exit() must not take the daemon down
            if is_disconnect(error) and not self.reachable():
                logger.debug("%s: ended, its peer is gone", describe(self.scope), exc_info=error)
            else:
                self._crashed(error)
        finally:
            self._finish()
        return self.error

    def reachable(self) -> bool:
        """Whether the peer is there: then a Disconnected that comes out of the application is another one's."""
        return not self.gone

    def feed(self, event: ReceiveEvent) -> None:
        """Queue ``event`` for the application, which reads them in order. Never waits; see :meth:`pause`."""
        if self.ended or self.gone:
            return
        self._inbox.append(event)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        elif not self._paused and len(self._inbox) >= self.limit:
            self._paused = True
            self.pause()

    def disconnect(self, event: ReceiveEvent) -> None:
        """The peer is gone: queue the last event, make every later ``send`` raise, bound what is left to run.

        Only the first call counts. The event comes after what the peer had said before it left, and needs no room in
        the inbox; an application that makes no progress for ``disconnect_grace`` seconds is cancelled.
        """
        if self.gone or self.ended:
            return
        self.feed(event)
        self._peer_left()

    def _peer_left(self) -> None:
        """The peer is gone, which the application has been told."""
        self.gone = True
        self._goto("gone")
        self._watch(self._received)

    def pause(self) -> None:
        """The inbox is full: stop reading from the peer."""

    def resume(self) -> None:
        """There is room again: read on."""

    # What the application calls.

    async def receive(self) -> Any:
        """The next event, in the order of arrival. After the disconnect there is none: see :meth:`after_the_last`."""
        inbox = self._inbox
        if inbox:
            checkpoints.left -= 1
            if checkpoints.left < 0:
                await checkpoints.read_clock()  # before the event is taken, or who cancels this here would lose it
        while not inbox:
            if self._waiter is not None:  # of another task of the application
                await asyncio.wait((self._waiter,))
            else:
                self._waiter = asyncio.get_running_loop().create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            if not inbox and (again := self.after_the_last()) is not None:  # another task has taken it
                return again
        self._received += 1
        event = inbox.popleft()
        if self._paused and len(inbox) * 2 <= self.limit:
            self._paused = False
            self.resume()
        return event

    def after_the_last(self) -> Any:
        """What ``receive`` returns once the application has had its last event. None: it waits until cancelled."""
        return None

    async def send(self, event: SendEvent | Mapping[str, Any]) -> None:
        """Answer the peer. Raises LocalProtocolError where the event is not legal now, or not valid; Disconnected when
        the peer is gone."""
        try:
            after, answer, check = self._legal[event["type"]]
            if after == self.state:  # what can be sent on and on
                checkpoints.left -= 1
                if checkpoints.left < 0:
                    await checkpoints.read_clock()
                    after, answer, check = self._legal[event["type"]]  # in another state now, perhaps
            pending = answer(self, event if check is None else check(event))
            if after != self.state and self.state in self._steps:
                self._goto(after)
            if pending is not None:
                await pending
        except Exception as error:
            await self._not_sent(event, error)

    async def _not_sent(self, event: Any, error: Exception) -> None:
        """Raise what the application is to hear, and let the loop have its turn: it may try again, and again."""
        if isinstance(error, KeyError | TypeError):
            error = self._mistake(event, error)
        if not isinstance(error, Disconnected):
            await checkpoint()
            raise error from error.__cause__
        if self.passes_over(event):
            return
        await asyncio.sleep(0)  # whoever waits in receive hears of it first
        if self.is_to_hear(event):
            raise error from error.__cause__

    def _mistake(self, event: Any, error: Exception) -> Exception:
        """What a failed look-up, of the event's type or in it, comes from."""
        try:
            kind = type_of(event)
        except LocalProtocolError as wrong:
            return wrong
        if not isinstance(error, KeyError):
            return error
        return missing(event, error) if kind in self._legal else self._illegal(kind)

    def passes_over(self, event: SendEvent | Mapping[str, Any]) -> bool:
        """Whether the ``send`` of ``event``, which reached nobody, returns at once, as if it had."""
        return False

    def is_to_hear(self, event: SendEvent | Mapping[str, Any]) -> bool:
        """Whether Disconnected is raised out of the ``send`` of ``event``, which reached nobody."""
        return True

    # How it ends.

    def _goto(self, state: str) -> None:
        self.state = state
        self._legal = self._steps.get(state, _NOTHING)

    def _illegal(self, kind: str) -> Exception:
        if self.gone:
            return Disconnected(f"{kind}: the peer is gone")
        if self.ended:
            return LocalProtocolError(f"{kind}: the application has already returned")
        return illegal(kind, self.state, self._legal)

    def _crashed(self, error: BaseException) -> None:
        self.error = error
        log_crash(self.scope, error)

    def _finish(self) -> None:
        self.ended = True
        self.state, self._legal = "ended", _NOTHING
        self._inbox.clear()
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _watch(self, received: int) -> None:
        if grace := self.disconnect_grace:
            self._watchdog = asyncio.get_running_loop().call_later(grace, self._check_progress, received)

    def _check_progress(self, received: int) -> None:
        if received != self._received:
            self._watch(self._received)
        elif self._task is not None:
            said = "%s: cancelled, %g s (disconnect_grace) after its peer left"
            logger.warning(said, describe(self.scope), self.disconnect_grace)
            self._overdue = True
            self._task.cancel()

    def _uncancel(self) -> None:
        if self._task is not None:
            self._task.uncancel()


def log_crash(scope: Scope, error: BaseException) -> None:
    """One record, with the traceback."""
    logger.error("%s", describe(scope), exc_info=error, extra={"scope": scope})
