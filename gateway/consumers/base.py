"""The base of all consumers: one instance per scope, events in order, a dispatch table built with the class."""

import asyncio
import contextlib
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from gateway.consumers import message_arguments
from gateway.consumers.departure import Departure
from gateway.consumers.hooks import (
    Call,
    check,
    check_groups,
    check_layer_events,
    check_no_generators,
    does_all_itself,
    require,
    writes,
)
from gateway.consumers.layer_messages import tell_unhandled
from gateway.consumers.merge import merge
from gateway.consumers.received import DISCONNECTS, RECEIVED, WHOLE, last_event_of, method_name
from gateway.consumers.refused import States, in_words
from gateway.consumers.returned import is_message_id, tell_returned
from gateway.consumers.unanswered import ANSWERS, Unanswered, asks_for_answer
from gateway.frames import place_of
from gateway.layers import ChannelLayer, Forgetful, deferred, get_channel_layer, origins
from protocols.app_run import on_departure
from protocols.asgi import Application, Receive, Send, describe
from protocols.errors import Disconnected, LocalProtocolError, is_disconnect
from protocols.tasks import Tasks, is_thrown_away

logger = logging.getLogger(__name__)

_endings = Tasks("disconnect")

R = TypeVar("R")
Handler = Callable[[Any, Any], Any]
F = TypeVar("F", bound=Callable[..., Any])

CLEAN_UP = 2.0
"""Seconds for ``disconnect``, and again for leaving the channel layer, when a run is cancelled."""
_AT_HAND = 0.05
"""Seconds for an event that has already arrived to pass through the routers above."""


class Asked(NamedTuple):
    """What an event asks for."""

    method: str
    """The method that answers it, unless the class has one named after the event."""
    answer: str
    """How the answer is written."""


class StopConsumer(Exception):
    """Raise it in a handler to end the consumer without an error."""


def layer_event(type: str) -> Callable[[F], F]:
    """Mark the method that handles channel layer messages of one ``type``::

    @layer_event("reading.new")
    def on_reading(self, message): ...
    """

    def mark(method: F) -> F:
        method.__dict__["layer_event"] = type
        return method

    return mark


@contextlib.contextmanager
def logged_disconnect(scope: Any) -> Iterator[None]:
    """Log an error that the disconnect method raises in the block. The run is over, so it has no other way out."""
    try:
        yield
    except (StopConsumer, Disconnected):
        pass
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        logger.error("%s: disconnect", describe(scope), exc_info=error, extra={"scope": scope})


class Consumer(Generic[R]):
    """One instance handles one scope. ``R`` is the result of its helpers: None, or an awaitable in async consumers."""

    scope: Any
    channel_layer: ChannelLayer
    channel_name: str
    """This instance's channel, if the class has a ``@layer_event`` method."""

    groups: Sequence[str] = ()
    """Groups of the channel layer that each instance joins before its first method is called."""
    disconnect_wait: ClassVar[float | None] = 1.0
    """Seconds that a handler may still run after its peer has left, before the method for the disconnect is called
    beside it. None: that method always waits."""

    _hooks: ClassVar[Mapping[str, Call]] = {}
    """The methods that a subclass may write, beside those named after events."""
    _required: ClassVar[tuple[str, ...]] = ()
    """A subclass must have at least one of these."""

    received: ClassVar[tuple[str, ...]] = RECEIVED
    """The event types that a method may be named after; consumers of other distributions have their own."""
    connections: ClassVar[tuple[str, ...]] = ("http", "websocket", "mqtt")
    """The scope types that are connections: they go on after a handler got Disconnected from ``send``. A handler of a
    mail or text that did not finish has not accepted it."""
    asks: Mapping[str, Asked] = {}
    """Types of the events whose senders wait for an answer. If it is missing after the method, the log has a line."""
    states: ClassVar[States] = {}
    """What helpers say that are called at the wrong time."""
    instead: ClassVar[Mapping[str, Asked]] = {}
    """By event type, the call that replaces a returned value, because returned values are ignored."""
    _told_returned: ClassVar[set[str]] = set()
    """Types of the events whose methods have returned a value, which is told once for each class."""
    _ends: ClassVar[frozenset[str]] = frozenset(DISCONNECTS)
    _last: ClassVar[frozenset[str]] = _ends
    """Types of the last event of a scope, unless that says ``more_body``."""

    _handlers: ClassVar[dict[str, Handler]] = {}
    _kinds: ClassVar[frozenset[str]] = frozenset()
    _layer_handlers: ClassVar[dict[str, Handler]] = {}

    _told = False
    """Whether the method for the disconnect has been called, or need not be."""
    _goodbye: Any = None
    """The disconnect, once it has arrived."""
    _departure: Departure | None = None
    """The same, as soon as the peer has left, if the server says so."""
    _handling: Any = None
    """The event whose method is running."""
    _left = False
    """Whether ``send`` has raised because the peer has left."""
    _groups: set[str]
    """The groups that it is in, if it has a method for messages of the channel layer."""
    _has_ended = False
    """Whether the run has ended, so that it is in no group any more."""
    _asking: Any = None
    """The event whose method is running, if it is one of :attr:`asks` and not answered yet."""
    _unanswered: Unanswered | None = None
    """The events whose methods have returned without an answer; None if there has been none."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check(cls, dict.fromkeys(map(method_name, cls.received), Call()) | dict(cls._hooks))
        methods = {kind: getattr(cls, method_name(kind), None) for kind in cls.received}
        cls._ends = frozenset(kind for kind in cls.received if kind.endswith(".disconnect"))
        cls._handlers = {kind: method for kind, method in methods.items() if method is not None}
        cls._kinds = frozenset(event.partition(".")[0] for event in cls._handlers)
        cls._layer_handlers = cls._find_layer_handlers()
        check_layer_events(cls, cls._layer_handlers, cls.received)
        check_groups(cls, cls.groups, cls._layer_handlers)
        cls._told_returned = set()
        check_no_generators(cls, cls._called())
        if cls._layer_handlers:  # one of them may respond, when the time has come
            cls.asks = {kind: asked for kind, asked in cls.asks.items() if kind != "http.request"}
        cls._last = cls._ends | {kind for kind, end in WHOLE.items() if end not in cls._handlers}

    @classmethod
    def _find_layer_handlers(cls) -> dict[str, Handler]:
        """Return the methods that messages of the layer call, by type."""
        members = [getattr(cls, name, None) for name in dir(cls) if not name.startswith("__")]
        marked = {getattr(member, "layer_event", None): member for member in members if callable(member)}
        return {kind: method for kind, method in marked.items() if kind is not None}

    @classmethod
    def _called(cls) -> Mapping[str, Callable[..., Any]]:
        """Return the methods that events call, by name."""
        methods = {name: getattr(cls, name, None) for name in (*cls._hooks, *map(method_name, cls.received))}
        methods |= {method.__name__: method for method in cls._layer_handlers.values()}
        return {name: method for name, method in methods.items() if method is not None}

    @classmethod
    def answers(cls, kind: str) -> bool:
        """Whether it has a method for scopes of the type ``kind``, or handles scopes without such methods."""
        return kind in cls._kinds or (not cls._kinds and does_all_itself(cls))

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Application:
        """An ASGI 3 application that makes one instance, with ``initkwargs``, for each scope.

        Raises ValueError if the class has none of the methods that it needs.
        """
        require(cls, cls._required)

        async def application(scope: Any, receive: Receive, send: Send) -> None:
            await cls(**initkwargs).run(scope, receive, send)

        application.__dict__["consumer_class"] = cls  # by which routers recognize and name it
        application.__dict__["consumer_initkwargs"] = initkwargs  # as those of Channels have
        return application

    async def run(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle ``scope`` to its end. Raises LookupError if the class has no method for its type."""
        kind = scope["type"]
        if kind not in self._kinds and not self.answers(kind):
            raise LookupError(f"{type(self).__name__} has no method for {kind} events")
        self.scope = scope
        self._to_peer = send
        # The class has these, too. Where it alone has them, Python takes ten times as long to find them.
        self._answered = self._told = self._left = False
        self._departure = self._unanswered = self._asking = None
        on_departure(receive, self._departed)
        try:
            await (self._live_with_layer(receive) if self._layer_handlers else self._live(receive))
        except StopConsumer:
            pass
        finally:
            self._stop_beside()

    def _stop_beside(self) -> None:
        """End what goes on beside the methods, because the run is over."""
        if self._departure is not None:
            self._departure.stop()
        if self._unanswered is not None:
            self._unanswered.stop()

    def _find_layer(self) -> ChannelLayer:
        return get_channel_layer()

    async def _live_with_layer(self, receive: Receive) -> None:
        self._groups = set()
        self.channel_layer = self._find_layer()
        self.channel_name = await self.channel_layer.new_channel()
        try:
            for name in self.groups:
                await self._group_add(name)
            async with merge(receive, self._layer_messages) as events:
                await self._live(events)
        finally:
            self._has_ended = True
            await self._leave_layer()

    async def _layer_messages(self) -> dict[str, Any]:
        """Return the next message that there is a method for. Others are told of and dropped: an event of the peer
        must not come by the layer, and a mistake elsewhere must not end this connection."""
        while True:
            message = await self.channel_layer.receive(self.channel_name)
            kind = message.get("type")
            if type(kind) is str and kind in self._layer_handlers:
                return message
            tell_unhandled(type(self), self._layer_handlers, self.scope, message)

    async def _leave_layer(self, *, forget: bool = True) -> None:
        """Leave the groups. If the layer fails or hangs, one line is logged, and the connection ends all the same."""
        try:
            async with asyncio.timeout(CLEAN_UP):
                for group in list(self._groups):
                    await self.channel_layer.group_discard(group, self.channel_name)
                    self._groups.discard(group)
                if forget and isinstance(self.channel_layer, Forgetful):
                    await self.channel_layer.forget(self.channel_name)
        except Exception as error:
            said = "%s: the channel layer failed while leaving its groups: %s %s"
            logger.warning(said, describe(self.scope), type(error).__name__, error)

    async def _live(self, receive: Receive) -> None:
        """Serve, and call the method for the disconnect once, also if that event can no longer be received."""
        is_request = self.scope["type"] == "http"
        task = None if is_request else asyncio.current_task()  # to look for it takes a system call
        try:
            try:
                await self._serve(receive)
            finally:
                if self._departure is not None:  # it was perhaps called beside a handler
                    self._departure.handled()
            if self._departure is not None:
                await self._end_departed(self._departure)
        except asyncio.CancelledError:
            await self._end_cancelled(receive)
            raise
        except StopConsumer:
            raise
        except (Exception, SystemExit, KeyboardInterrupt):
            if self._departure is not None:
                await self._end_departed(self._departure)
            elif not is_request:  # its peer is still there, and gets a 500
                await self._end(last_event_of(self.scope))
            raise
        except GeneratorExit:
            if not is_request and not is_thrown_away(task):
                # If another task has raised it, this coroutine may await nothing any more.
                _endings.spawn(self._end(last_event_of(self.scope)), name=describe(self.scope))
            raise

    async def _serve(self, receive: Receive) -> None:
        last = False
        while not last and not self._answered:
            event = await receive()
            kind = event["type"]
            if self._told and (kind in self._ends or kind in self._layer_handlers):
                last = kind in self._ends  # it was called beside a handler; what the peer had sent is handled
                continue
            if kind in self._last:
                last = not event.get("more_body")
                if kind in self._ends:
                    self._told, self._goodbye = True, event
                    if self._departure is not None:
                        self._departure.stop()
            self._handling = event
            if kind in self.asks:
                self._asking = event
            try:
                await self.dispatch(event)
            except Exception as error:
                if not (self._left and is_disconnect(error)):
                    raise
                # The peer has left, which ended this handler at its send. Events that the peer sent before it left
                # are still handled, and then the disconnect.
            self._handling = None
            if self._asking is not None:
                self._look_for_answer(event)

    def _departed(self, event: Any) -> None:
        """Note that the peer has left; ``event`` is the disconnect, which is still to be received."""
        if self._told:
            return
        self._goodbye = event
        self._departure = Departure(event)
        if self.disconnect_wait is not None:
            self._departure.watch(self.disconnect_wait, lambda: self._handling, self._overtake)

    def _overtake(self, event: Any) -> Coroutine[Any, Any, None]:
        """Return a call of the method for the disconnect, beside a handler, and of what follows it."""
        self._told = True
        return self._disconnect_beside(event)

    async def _disconnect_beside(self, event: Any) -> None:
        try:
            if (handler := self._handlers.get(event["type"])) is not None:
                with logged_disconnect(self.scope):
                    await self._call_beside(handler, event)
        finally:
            if self._layer_handlers:
                await self._leave_layer(forget=False)

    async def _end_departed(self, departure: Departure) -> None:
        """Call the method for the disconnect, or wait for the call that was made beside a handler."""
        if self._told:
            await departure.wait_called()
        else:
            await self._end(departure.event)

    async def _end_cancelled(self, receive: Receive) -> None:
        if not self._told:
            await self._end(await self._last_event(receive))
        elif self._departure is not None:
            await self._departure.wait_called(CLEAN_UP)

    @property
    def is_disconnected(self) -> bool:
        """Whether the peer has left, so that nothing sent from now on reaches it. Long handlers can look at it."""
        return self._left or self._goodbye is not None

    def wait_for_handlers(self) -> R:
        """Wait, in the method for the disconnect, until a handler that is still running has returned, and what the peer
        sent before it left is handled."""
        return self.perform(self._wait_for_handlers())

    async def _wait_for_handlers(self) -> None:
        if self._departure is not None and self._departure.is_called:
            await self._departure.wait_handled()

    def _look_for_answer(self, event: Any) -> None:
        """Note that the method for ``event`` has returned without an answer."""
        self._asking = None
        if asks_for_answer(event) and not self._left:
            self._unanswered = self._unanswered or Unanswered(self._tell_unanswered)
            self._unanswered.add(event)

    def _tell_unanswered(self, kind: str) -> None:
        """Log one line, and look no more: what is missing once is missing each time."""
        name, answer = self.asked(kind)
        said = "%s: %s has returned without %s; its peer is still waiting"
        logger.warning(said, describe(self.scope), self.method(kind, name), answer, extra={"scope": self.scope})
        self.asks = {}

    def method(self, kind: str, name: str) -> str:
        """Return the method for events of the type ``kind`` and its place, for people: ``Chat.connect (chat.py:12)``.
        It is the one called ``name`` unless the class has one named after the event."""
        if writes(type(self), method_name(kind)):
            name = method_name(kind)
        return f"{type(self).__name__}.{name} ({place_of(getattr(self, name))})"

    def asked(self, kind: str) -> Asked:
        """Return the method that answers events of the type ``kind``, and how its answer is written."""
        return self.asks[kind]

    def _tell_returned(self, scope: Any, kind: str, result: Any) -> None:
        """Log one line if ``result`` is dropped; later ones of the same method are like the first."""
        if kind in self._told_returned or is_message_id(result):
            return
        self._told_returned.add(kind)
        if (marked := self._layer_handlers.get(kind)) is not None:
            name, instead = marked.__name__, ""
        else:
            name, instead = self.instead.get(kind) or Asked(kind.partition(".")[2], "")
        tell_returned(scope, self.method(kind, name), result, instead)

    async def _last_event(self, receive: Receive) -> Any:
        """Return the disconnect, which may be behind events that are no longer handled."""
        scope_type = self.scope["type"]
        kind = f"{scope_type}.disconnect"
        event = self._goodbye
        if event is None and scope_type in self.connections and scope_type != "http":
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_AT_HAND):
                    while event is None or event["type"] != kind:
                        event = await receive()
        return event if event is not None and event["type"] == kind else last_event_of(self.scope)

    async def _end(self, event: Any) -> None:
        """Call the method for the disconnect, unless it has been called: the run has failed, or is cancelled."""
        handler = self._handlers.get(event["type"])
        if handler is None or self._told:
            return
        self._told = True
        if self._departure is not None:
            self._departure.stop()
        with logged_disconnect(self.scope):
            await self._call_last(handler, event)

    async def _call_last(self, handler: Handler, event: Any) -> None:
        """Do the same as ``_call``, within CLEAN_UP seconds."""
        async with asyncio.timeout(CLEAN_UP):
            await self._call(handler, event)

    async def dispatch(self, event: Any) -> None:
        """Call the method for ``event``. Subclasses add the steps that their protocol needs."""
        kind = event["type"]
        handler = self._handlers.get(kind) or self._layer_handlers.get(kind)
        if handler is not None:
            pending = self._begin_call(handler, event)
            if pending is not None and (result := await pending) is not None:
                self._tell_returned(self.scope, kind, result)
        elif not kind.endswith(".disconnect"):
            raise LookupError(f"{type(self).__name__} has no method for {kind}")

    @abstractmethod
    def _begin_call(self, handler: Handler, event: Any) -> Awaitable[Any] | None:
        """Run ``handler`` on the loop or on a thread. Await what it returns at once: it is the handler's own result, if
        nothing else is to be done, because a coroutine around it would take 1 % of a short request."""

    async def _call(self, handler: Handler, event: Any) -> Any:
        """Run ``handler`` on the loop or on a thread, and return its result."""
        pending = self._begin_call(handler, event)
        return None if pending is None else await pending

    @abstractmethod
    async def _call_beside(self, handler: Handler, event: Any) -> None:
        """Run the method for the disconnect while another one runs."""

    @abstractmethod
    def perform(self, coroutine: Coroutine[Any, Any, None]) -> R:
        """Run ``coroutine`` on the gateway's loop: at once from a thread, or when awaited."""

    async def _emit(self, event: Any, helper: str = "") -> None:
        """Send ``event``, and note whether our own peer has left: other code raises Disconnected, too. An error of the
        event is raised in the words of ``helper``."""
        try:
            await self._to_peer(event)
        except (LocalProtocolError, OSError) as error:
            raise self._not_sent(event, helper, error) from error.__cause__
        kind = event["type"]
        if kind in ANSWERS:
            if self._asking is not None and event.get("id") == self._asking.get("id"):
                self._asking = None
                if kind == "http.response.start":  # perhaps before the last piece of the request
                    self.asks = {}
            elif self._unanswered is not None:
                self._unanswered.answered(event)
        elif kind == "http.response.body" and not event.get("more_body"):
            self._answered = True

    def _not_sent(self, event: Any, helper: str, error: Exception) -> Exception:
        """Return the error for the handler."""
        if isinstance(error, LocalProtocolError):
            return in_words(helper, self.states, event, error) if helper else error
        if isinstance(error, Disconnected):
            self._left = self.scope["type"] in self.connections
        elif self.scope["type"] == "websocket":  # under other servers (ASGI 2.4)
            self._left = True
            return Disconnected("the peer is gone")
        return error

    def group_add(self, name: str) -> R:
        """Join a group of the channel layer, until this consumer ends."""
        return self.perform(self._group_add(message_arguments.group_name("group_add", "name", name)))

    async def _group_add(self, name: str) -> None:
        if not self._layer_handlers:
            raise LookupError(f"{type(self).__name__} has no @layer_event method for messages of the group {name!r}")
        self._groups.add(name)
        await self.channel_layer.group_add(name, self.channel_name)
        if self._has_ended:  # a thread goes on, or this took longer than the rest of the run
            await self._leave_layer()

    def group_send(self, name: str, message: Mapping[str, Any]) -> R:
        """Send ``message``, a dict with ``type``, to everyone in a group."""
        checked = message_arguments.layer_message("group_send", name, message)
        origins.note(checked)
        return self.perform(deferred.group_send(self._find_layer(), name, checked))
