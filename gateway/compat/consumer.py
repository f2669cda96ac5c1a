"""What all consumers have that are written as for Channels: methods are found by the type of a message."""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import isfunction
from typing import Any, ParamSpec, TypeVar

from gateway.compat.layers import DEFAULT_CHANNEL_LAYER, get_channel_layer
from gateway.consumers.base import Asked, Consumer, Handler
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.received import METHODS, RECEIVED, method_name
from gateway.layers import ChannelLayer
from gateway.threads import run_in_thread
from protocols.asgi import Receive, Scope, Send

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_OURS = ("gateway.", "typing", "builtins")
"""Where the methods are defined that no message calls."""


class AcceptConnection(Exception):
    """Raise it in ``connect`` to accept the connection."""


class DenyConnection(Exception):
    """Raise it in ``connect`` to refuse the connection."""


def _functions(cls: type) -> Iterator[tuple[str, Any]]:
    for base in cls.__mro__:
        if not base.__module__.startswith(_OURS):
            yield from ((name, value) for name, value in vars(base).items() if isfunction(value))


class ByName(dict[str, Handler]):
    """The methods of a class by name. A message ``chat.message`` finds ``chat_message``."""

    def __contains__(self, kind: object) -> bool:
        return isinstance(kind, str) and super().__contains__(method_name(kind))

    def get(self, kind: str, default: Any = None) -> Any:
        return super().get(method_name(kind), default)

    def __bool__(self) -> bool:
        """Return True: every instance has a channel, also one that only sends to others."""
        return True


class ChannelsMethods(Consumer[R]):
    """The methods of both forms."""

    channel_layer_alias: str = DEFAULT_CHANNEL_LAYER
    """The layer of the instances: the gateway's, or another one of ``CHANNEL_LAYERS``."""

    asks: Mapping[str, Asked] = {"websocket.connect": Asked("websocket_connect", "an answer")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take whatever a subclass passes on, as Channels' consumers do."""

    def __init_subclass__(cls) -> None:
        cls.groups = cls.groups or ()  # Channels' own default is None
        super().__init_subclass__()

    @classmethod
    def _find_layer_handlers(cls) -> dict[str, Handler]:
        """Return the public methods that a project has written, and no method of ours: a message of the layer cannot
        close a connection."""
        ours = {name for base in cls.__mro__ if base.__module__.startswith(_OURS) for name in vars(base)}
        names = {name for name, _ in _functions(cls)} - ours - set(METHODS)
        return ByName({name: getattr(cls, name) for name in names if not name.startswith("_")})

    @classmethod
    def _called(cls) -> Mapping[str, Callable[..., Any]]:
        """Return the methods that events of the peer call. Others may be helpers, of either form."""
        return {name: getattr(cls, name) for name in map(method_name, RECEIVED) if hasattr(cls, name)}

    @classmethod
    def answers(cls, kind: str) -> bool:
        return kind == "channel" or super().answers(kind)

    def _find_layer(self) -> ChannelLayer:
        return get_channel_layer(self.channel_layer_alias)

    async def _live_with_layer(self, receive: Receive) -> None:
        """Serve. A worker's channel is that of its consumer, too: to read ahead in a second one would lose a message
        when a handler fails."""
        if self.scope["type"] != "channel":
            await super()._live_with_layer(receive)
            return
        self._groups = set()
        self.channel_layer = self._find_layer()
        self.channel_name = self.scope["channel"]
        try:
            for name in self.groups:
                await self._group_add(name)
            await self._live(receive)
        finally:
            await self._leave_layer(forget=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one scope: an instance of Channels is an application."""
        await self.run(scope, receive, send)


class AsyncConsumer(ChannelsMethods[Awaited], AsyncForm):
    """One ``async`` method for each type of a message."""

    async def send(self, message: Any) -> None:
        """Send one event to the peer."""
        await self._emit(message)


class SyncConsumer(ChannelsMethods[None], SyncForm):
    """One method for each type of a message, called on a thread."""

    def send(self, message: Any) -> None:
        """Send one event to the peer."""
        self.perform(self._emit(message))


def database_sync_to_async(function: Callable[P, T]) -> Callable[P, Any]:
    """Return an ``async`` function that calls ``function`` on a thread of the gateway's pool, with Django's connections
    closed around it if they are broken or too old."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in_thread(function, *args, **kwargs)

    return call
