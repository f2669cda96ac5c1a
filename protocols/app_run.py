"""One run of an application, from its scope to its end.

Backpressure, order, legal sends, disconnect, crash and cancellation are solved here once, for all protocols. Each
protocol has a subclass. Its table :attr:`AppRun.sends` says which event may follow which, and it has a method for each
event type, which turns the event into the protocol's own answer::

    class Call(AppRun):
        sends = {
            "ringing": {"call.answer": "open", "call.reject": "over"},
            "open": {"call.speak": "open", "call.hang_up": "over"},
        }
        checks = {"call.speak": speak}              # see protocols.events

        def call_answer(self, event): ...           # sync, or returns an awaitable that ``send`` waits for

The table is the state machine: its first key is the initial state, and a state that is only a target ends the
conversation. Methods are looked up when the class is created, never by a name that came from outside. They get the
event as its check returned it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from time import monotonic
from types import MethodType
from typing import Any, ClassVar, Protocol

from protocols.asgi import Application, ReceiveEvent, Scope, SendEvent, describe
from protocols.checkpoint import checkpoint, checkpoints
from protocols.errors import Disconnected, LocalProtocolError, is_disconnect
from protocols.events import Check, Checks, Table, illegal, missing, type_of
from protocols.queue import Queue
from protocols.tasks import is_thrown_away

logger = logging.getLogger(__name__)

Answer = Callable[[Any, Any], Awaitable[None] | None]
Departure = Callable[[Any], None]
"""Takes the last event of a run, when the peer has left."""
Step = tuple[str, "Steps", Answer, Check | None]
"""The state that follows, the steps from there, the method that answers, the check of the event."""
Steps = dict[str, Step]
"""The steps that are legal in one state, by event type."""
DISCONNECT_GRACE = 10.0
"""The default of a server without such a setting."""
NO_STEPS: Steps = {}
_NO_QUEUE: "Queue[Any]" = Queue(0)
"""That of a run before its first event. Most requests have none beside their body, and a queue takes 3 % of one."""
_RESULTS = {"accept": "accepted", "reject": "rejected", "defer": "deferred"}
"""What follows the dot in the type of an event that decides -> its result."""
_EARLY = 2
"""An application that has received so many events has answered the first, or is told of."""


class Observer(Protocol):
    """Is told what the runs of this process do; see :data:`observed`. Its methods never raise."""

    def began(self, run: "AppRun") -> Coroutine[Any, Any, None] | None:
        """The run begins, in the context that its application gets. What this returns is awaited before that."""

    def waits(self, run: "AppRun") -> None:
        """The application asks for an event, and there is none yet: it is done with the one before, if it handles one
        after the other."""

    def received(self, run: "AppRun", event: Any) -> None:
        """The application takes ``event``."""

    def sent(self, run: "AppRun", event: Any) -> None:
        """The peer has the answer ``event`` of the application."""

    def ended(self, run: "AppRun") -> None:
        """The application has ended; see :attr:`AppRun.error`."""


Busy = dict[str, dict[str | int, Callable[[float], None]]]
"""By the label of a route and the status of the response, what takes the seconds of a request."""


class Meter(Protocol):
    """Counts the runs of this process. Its methods never raise.

    If a route is busy, the run itself adds its seconds to a list, which the meter reads from time to time. Between two
    requests each step of Python costs several times what it does in a loop of its own.
    """

    @property
    def route(self) -> Callable[[], str]:
        """Returns the label of the route that has answered in this context."""

    def opened(self, run: "AppRun") -> None:
        """The run of a connection begins, in the context that its application gets."""

    def ended(self, run: "AppRun", seconds: float) -> None:
        """The application has ended after so many seconds; see :meth:`AppRun.final_result`. Not called for a request
        of which :attr:`AppRun.busy` has the route and the status."""


Sends = Callable[["AppRun", Any], Any]


class Observed:
    """The runs of this process."""

    __slots__ = ("_observers", "by", "ended", "fed", "meter", "sends", "waits")

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()
        self.sends: Sends | None = None
        """Is given what an application sends, once that is checked, and returns what is sent in its place."""
        self.fed: Callable[[AppRun, Any], None] | None = None
        """Is called with each event from the peer when it is queued."""
        self.meter: Meter | None = None
        """Counts the runs."""
        self.ended = 0.0
        """When the last run ended (monotonic), if there was a meter."""
        self.waits: Waits | None = None
        """Is told of a run, and of its own task, which begins to wait for an event although it has not answered. The
        timer that it returns is cancelled when that wait ends."""
        self.by: Observer | None = None
        """Usually nobody. To look here costs an event 5 ns, where an attribute of the class would cost 30."""

    def add(self, observer: Observer) -> None:
        """Tell ``observer``, too, from now on."""
        self._set((*self._observers, observer) if observer not in self._observers else self._observers)

    def remove(self, observer: Observer) -> None:
        self._set(tuple(each for each in self._observers if each is not observer))

    def _set(self, observers: tuple[Observer, ...]) -> None:
        self._observers = observers
        self.by = _Several(observers) if len(observers) > 1 else next(iter(observers), None)


class _Several:
    """Tells each of several observers, the first first."""

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self._observers = observers

    def began(self, run: "AppRun") -> Coroutine[Any, Any, None] | None:
        pending = [awaited for each in self._observers if (awaited := each.began(run)) is not None]
        return _all(pending) if pending else None

    def waits(self, run: "AppRun") -> None:
        for each in self._observers:
            each.waits(run)

    def received(self, run: "AppRun", event: Any) -> None:
        for each in self._observers:
            each.received(run, event)

    def sent(self, run: "AppRun", event: Any) -> None:
        for each in self._observers:
            each.sent(run, event)

    def ended(self, run: "AppRun") -> None:
        for each in self._observers:
            each.ended(run)


async def _all(pending: Iterable[Coroutine[Any, Any, None]]) -> None:
    for each in pending:
        await each


observed = Observed()
Waits = Callable[["AppRun", "asyncio.Task[Any]"], asyncio.TimerHandle | None]


class AppRun:
    """One run of an application over one scope.

    The server awaits :meth:`run`, which returns when the application has ended, however it ended. It calls :meth:`feed`
    with each event from the peer, and :meth:`disconnect` once the peer is gone. The application gets :meth:`receive`
    and :meth:`send`.
    """

    # Slots, because a short request spends a fiftieth of its time on the attributes' dict. Subclasses may have one.
    __slots__ = (
        "_departures",
        "_disconnect",
        "_lasts",
        "_legal",
        "_made",
        "_overdue",
        "_paused",
        "_queue",
        "_received",
        "_task",
        "_watchdog",
        "app",
        "busy",
        "ended",
        "error",
        "gone",
        "result",
        "scope",
        "state",
    )

    sends: ClassVar[Table] = {}
    """State -> type of an event that may be sent -> next state."""
    checks: ClassVar[Checks] = {}
    """Event type -> its check. An event without a check is passed to its method as it is."""
    is_connection: ClassVar[bool] = False
    """Whether the scope is a connection, which brings many messages and may last for months."""
    limit: ClassVar[int] = 64
    """Waiting events at which :meth:`pause` is called; at half of it :meth:`resume` is."""
    _steps: ClassVar[dict[str, Steps]] = {}
    _start: ClassVar[tuple[str, Steps, bool]] = ("", NO_STEPS, False)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._steps = {state: {} for state in cls.sends}
        for state, steps in cls._steps.items():
            for event, after in cls.sends[state].items():
                answer, check = getattr(cls, event.replace(".", "_")), cls.checks.get(event)
                if (result := _RESULTS.get(event.rpartition(".")[2])) is not None:
                    answer = _noting(result, answer)
                steps[event] = after, cls._steps.get(after, NO_STEPS), answer, check
        first = next(iter(cls.sends), "")
        cls._start = first, cls._steps.get(first, NO_STEPS), cls.is_connection

    def __init__(self, app: Application, scope: Scope) -> None:
        self.app = app
        self.scope = scope
        self.state, self._legal, self._lasts = self._start
        self.gone = False
        """Whether the peer has left."""
        self.ended = False
        """Whether the application has ended."""
        self.error: BaseException | None = None
        """The error that the application crashed with, or the CancelledError that ended it."""
        self.busy: Busy | None = None
        """The busy routes of its server. None unless the run is a request."""
        self._made = observed.ended
        self.result: str | int = ""
        """What the application has decided: ``accepted``, ``rejected``, ``deferred``; a request's status."""
        self._queue: Queue[ReceiveEvent] = _NO_QUEUE
        self._paused = False
        self._departures: tuple[Departure, ...] = ()
        self._disconnect: ReceiveEvent | None = None
        self._received = 0
        self._task: asyncio.Task[Any] | None = None
        self._overdue = False
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def server_name(self) -> str:
        """The name of its server in gateway.yaml."""
        scope: Any = self.scope
        name: str = scope.get("listener", "")
        return name

    @property
    def disconnect_grace(self) -> float:
        """Seconds that the application may make no progress after a disconnect before it is cancelled; 0 for ever."""
        return DISCONNECT_GRACE

    # What the server calls.

    async def run(self) -> BaseException | None:
        """Run the application to its end. Return the error that it crashed with, which is logged here once, or None.

        Cancelling the caller cancels the application; only that ``CancelledError`` is raised from here.
        """
        if self._task is None:  # the caller may have set it, which is cheaper
            self._task = asyncio.current_task()
        if observed.by is not None and (pending := observed.by.began(self)) is not None:
            await pending
        began = observed.ended
        if (meter := observed.meter) is not None:
            if began is self._made:  # else it has waited for that run: a look at the clock is 1 % of a short request
                began = monotonic()
            if self._lasts:
                meter.opened(self)
        try:
            await self.app(self.scope, self.receive, self.send)
        except asyncio.CancelledError as error:
            if self._is_for_caller(error):
                raise
        except BaseException as error:  # a handler's exit() must not take the daemon down
            if isinstance(error, GeneratorExit) and is_thrown_away(self._task):
                raise
            self._failed(error)
        finally:
            self._finish(meter, began)
        return self.error

    def forget_error(self) -> None:
        """Let go of the error, which :meth:`run` has returned. Its traceback holds the variables of the handler, and so
        this run: in a circle, the message would stay in memory until the garbage collector comes."""
        self.error = None

    @property
    def received(self) -> int:
        """The number of events that the application has received."""
        return self._received

    def final_result(self) -> str | int:
        """What has come of it, once it has ended: one of a few words, or a request's status."""
        if self.error is not None:
            return "failed"
        return self.result or ("unanswered" if self.is_connection else "accepted")

    def skip(self) -> None:
        """Tell the observer, in place of :meth:`run`, that no application takes the scope."""
        if observed.by is not None:
            if isinstance(pending := observed.by.began(self), Coroutine):
                pending.close()
            observed.by.ended(self)

    def reachable(self) -> bool:
        """Whether the peer is there. Then a Disconnected raised by the application is about another peer."""
        return not self.gone

    @property
    def awaits_answer(self) -> bool:
        """Whether the peer waits for the answer to what began this run."""
        return not self.gone and self._legal is self._start[1]

    def feed(self, event: ReceiveEvent) -> None:
        """Queue ``event`` for the application, which reads events in order. Never waits; see :meth:`pause`."""
        if self.ended or self.gone:
            return
        if observed.fed is not None:
            observed.fed(self, event)
        queue = self._queue
        if queue:
            queue.append(event)  # as put does where nobody waits, without a call for each event
        else:
            queue = self._own_queue()
            queue.put(event)
        if not self._paused and len(queue) >= self.limit:
            self._paused = True
            self.pause()

    def _own_queue(self) -> "Queue[ReceiveEvent]":
        if self._queue is _NO_QUEUE:
            self._queue = Queue(self.limit)
        return self._queue

    def disconnect(self, event: ReceiveEvent) -> None:
        """Queue the last event, because the peer is gone. Every ``send`` after this raises Disconnected.

        Only the first call counts. The event comes after everything that the peer sent before it left, even if the
        queue is full. An application that makes no progress for ``disconnect_grace`` seconds is cancelled.
        """
        if self.gone or self.ended:
            return
        self.feed(event)
        self._peer_left()
        self._announce(event)

    def _announce(self, event: ReceiveEvent) -> None:
        """Tell those who asked for that by :meth:`on_departure`. Only the first call counts."""
        if self._disconnect is not None:
            return
        self._disconnect = event
        for tell in self._departures:
            tell(event)

    def _peer_left(self) -> None:
        """Note that the peer is gone. The application has been told so."""
        self.gone = True
        self._goto("gone")
        self._watch(self._received)

    def pause(self) -> None:
        """Stop reading from the peer, because the queue is full."""

    def resume(self) -> None:
        """Read on, because there is room in the queue again."""

    # What the application calls.

    async def receive(self) -> Any:
        """Return the next event, in the order of arrival. After the disconnect see :meth:`after_the_last`."""
        queue = self._queue
        if queue:
            checkpoints.left -= 1
            if checkpoints.left < 0:
                await checkpoints.read_clock()  # before the event is taken: a cancellation here must not lose it
        while not queue:
            queue = self._own_queue()
            if observed.by is not None:
                observed.by.waits(self)
            if self._received < _EARLY and self.awaits_answer and observed.waits is not None:
                await self._wait_unanswered(observed.waits)
            else:
                await queue.more()
            if not queue and (again := self.after_the_last()) is not None:  # another task has taken it
                return again
        self._received += 1
        event = queue.popleft()
        if self._paused and len(queue) * 2 <= self.limit:
            self._paused = False
            self.resume()
        if observed.by is not None:
            observed.by.received(self, event)
        return event

    async def _wait_unanswered(self, waits: "Waits") -> None:
        """Wait for an event. Another task that the application has made may wait for the disconnect while it works on
        its answer; and an application that only looks whether its peer is there gives up soon."""
        own = self._task if asyncio.current_task() is self._task else None
        timer = waits(self, own) if own is not None else None
        try:
            await self._queue.more()
        finally:
            if timer is not None:
                timer.cancel()

    def unread(self, event: ReceiveEvent) -> None:
        """Put ``event``, which :meth:`receive` returned last and which was not handled, back as the next one."""
        if not self.ended:
            self._received -= 1
            self._queue.appendleft(event)

    def on_departure(self, tell: Departure) -> None:
        """Call ``tell`` with the disconnect as soon as the peer has left, also if the application is still busy with an
        earlier event; at once if that has happened. :meth:`receive` returns the event all the same, in its turn."""
        self._departures = (*self._departures, tell)
        if self._disconnect is not None:
            tell(self._disconnect)

    def after_the_last(self) -> ReceiveEvent | None:
        """The event that ``receive`` returns after the last one. None: ``receive`` waits until it is cancelled."""
        return None

    async def send(self, event: SendEvent | Mapping[str, Any]) -> None:
        """Answer the peer.

        Raises LocalProtocolError if the event is not legal now, or not valid; Disconnected if the peer is gone.
        """
        try:
            after, legal, answer, check = self._legal[event["type"]]
            if legal is self._legal:  # such events can be sent again and again
                checkpoints.left -= 1
                if checkpoints.left < 0:
                    await checkpoints.read_clock()
                    after, legal, answer, check = self._legal[event["type"]]  # the state may be another one now
            checked = event if check is None else check(event)
            if observed.sends is not None:
                checked = observed.sends(self, checked)
            pending = answer(self, checked)
            if legal is not self._legal and self._legal:  # no steps: the answer has ended the conversation
                self.state, self._legal = after, legal
            if pending is not None:
                await pending
            if observed.by is not None:
                observed.by.sent(self, event)
        except Exception as error:
            await self._not_sent(event, error)

    async def _not_sent(self, event: Any, error: Exception) -> None:
        """Raise the error for the application, and pass a checkpoint: the application may try again and again."""
        if isinstance(error, KeyError | TypeError):
            error = self._mistake(event, error)
        if not isinstance(error, Disconnected):
            await checkpoint()
            raise error from error.__cause__
        if self.passes_over(event):
            return
        await asyncio.sleep(0)  # a task that waits in receive learns of it first
        if self.is_to_hear(event):
            raise error from error.__cause__

    def _mistake(self, event: Any, error: Exception) -> Exception:
        """Say what was wrong with an event whose type, or one of whose keys, was not found."""
        try:
            kind = type_of(event)
        except LocalProtocolError as wrong:
            return wrong
        if not isinstance(error, KeyError):
            return error
        return missing(event, error) if kind in self._legal else self._illegal(kind)

    def passes_over(self, event: SendEvent | Mapping[str, Any]) -> bool:
        """Whether ``send`` returns at once, without an error, although ``event`` reached nobody."""
        return False

    def is_to_hear(self, event: SendEvent | Mapping[str, Any]) -> bool:
        """Whether ``send`` raises Disconnected, because ``event`` reached nobody."""
        return True

    # How it ends.

    def _goto(self, state: str) -> None:
        self.state = state
        self._legal = self._steps.get(state, NO_STEPS)

    def _illegal(self, kind: str) -> Exception:
        if self.gone:
            return Disconnected(f"{kind}: the peer is gone")
        if self.ended:
            return LocalProtocolError(f"{kind}: the application has already returned")
        return illegal(kind, self.state, self._legal)

    def _is_for_caller(self, error: asyncio.CancelledError) -> bool:
        """Return whether the caller of :meth:`run` was cancelled, and the application with it."""
        if self._overdue:
            self._uncancel()
        elif self._task is not None and self._task.cancelling():
            self.error = error
            return True
        else:  # the application awaited something that other code cancelled
            self._crashed(error)
        return False

    def _failed(self, error: BaseException) -> None:
        if is_disconnect(error) and not self.reachable():
            logger.debug("%s: ended, its peer is gone", describe(self.scope), exc_info=error)
        else:
            self._crashed(error)

    def _crashed(self, error: BaseException) -> None:
        self.error = error
        log_crash(self.scope, error, self.server_name)

    def _finish(self, meter: Meter | None, began: float) -> None:
        self.ended = True
        self.state, self._legal = "ended", NO_STEPS
        self._queue.clear()
        self._departures = ()
        if self._watchdog is not None:
            self._watchdog.cancel()
        if observed.by is not None:
            observed.by.ended(self)
        if meter is not None:
            now = observed.ended = monotonic()
            route = meter.route  # called at once, it would be looked up as a method is
            try:
                self.busy[route()][self.result](now - began)  # type: ignore[index]  # None is a TypeError
            except (KeyError, TypeError):
                meter.ended(self, now - began)

    def _watch(self, received: int) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
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


def on_departure(receive: Any, tell: Departure) -> None:
    """Call ``tell`` with the disconnect as soon as the peer has left, if ``receive`` is that of a run. One that other
    code has wrapped, or that is another server's, cannot say so before its turn."""
    if (register := getattr(getattr(receive, "__self__", None), "on_departure", None)) is not None:
        register(tell)


_SEND = AppRun.send
WholeAnswer = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], Coroutine[Any, Any, bool]]
"""Takes the status (200 to 599), the fields and the body. Returns True if it has sent the response, and False if
it has done nothing."""


def whole_answer_of(send: Any) -> WholeAnswer | None:
    """Return the method of the run that ``send`` is of which sends a whole response in one step, if it has one.

    None if other code is to see the events of the response: one that has wrapped ``send``, or that observes the runs.
    """
    if observed.by is not None or observed.sends is not None:
        return None
    if type(send) is not MethodType or send.__func__ is not _SEND:  # a proxy of it has its __self__, too
        return None
    return getattr(send.__self__, "answer_whole", None)


def may_still_read(receive: Any) -> bool:
    """Whether the peer, which has left, may wait for an answer: it has closed only its half of the connection."""
    return isinstance(run := getattr(receive, "__self__", None), AppRun) and not run.gone


def grace_of(receive: Any) -> float:
    """Return the ``disconnect_grace`` of the run that ``receive`` is of; 0 if it is of none."""
    return run.disconnect_grace if isinstance(run := getattr(receive, "__self__", None), AppRun) else 0.0


def unread(receive: Any, event: Any) -> None:
    """Put ``event`` back if ``receive`` is that of a run. ``receive`` returned it, and it was not handled."""
    if isinstance(run := getattr(receive, "__self__", None), AppRun):
        run.unread(event)


def _noting(result: str, answer: Answer) -> Answer:
    """Return ``answer`` that notes what an event such as ``sms.reject`` decides, if it is valid."""

    def noting(run: "AppRun", event: Any) -> Awaitable[None] | None:
        pending = answer(run, event)
        run.result = result
        return pending

    return noting


def log_crash(scope: Scope, error: BaseException, server: str) -> None:
    """Write one record, with the traceback."""
    logger.error("%s", describe(scope), exc_info=error, extra={"scope": scope, "server": server})
