"""Makes the channel layer that a file asks for."""

import importlib.util
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.diagnostics import Diagnostic
from gateway.config.loader import ParsedConfig
from gateway.config.settings import Settings
from gateway.control.place import places
from gateway.layers import ChannelLayer, InMemoryChannelLayer
from gateway.layers.address import Address, Django, Imported, Ipc, Memory, Redis, parse_layer
from gateway.runtime.importing import TargetError, import_target, place_of, source_lines
from protocols.errors import BindError, describe_error
from protocols.lazy_names import imported
from protocols.net.tls import client_context
from protocols.net.unix_path import address as address_of

if TYPE_CHECKING:
    from gateway.layers.ipc import Relay

logger = logging.getLogger(__name__)

_METHODS = ("new_channel", "send", "receive", "group_add", "group_discard", "group_send")
_SOCKET = ".layer.sock"


def make_layer(parsed: ParsedConfig, *, relays: bool = True) -> tuple[ChannelLayer, list[Diagnostic]]:
    """Return the layer, and what is wrong with the one that the file names: then it is one in memory.

    Nothing is connected. ``relays``: whether this process may relay for others.
    """
    try:
        return _made(parse_layer(parsed.settings.layer), parsed, relays=relays), []
    except TargetError as error:
        return InMemoryChannelLayer(), [parsed.document.at_value(("layer",), str(error)).with_lines(error.trace)]
    except ValueError as error:
        return InMemoryChannelLayer(), [parsed.document.at_value(("layer",), f"layer: {error}")]


def make_layer_for_tests(parsed: ParsedConfig) -> tuple[ChannelLayer, list[Diagnostic]]:
    """Return one in memory in place of one of ours that reaches other processes. It takes the same messages."""
    try:
        reaches_others = isinstance(parse_layer(parsed.settings.layer), Ipc | Redis)
    except ValueError:
        reaches_others = False
    return (imported("gateway.layers.packing:PackingChannelLayer")(), []) if reaches_others else make_layer(parsed)


def _made(address: Address, parsed: ParsedConfig, *, relays: bool) -> ChannelLayer:
    """Raises TargetError or ValueError, with a sentence."""
    match address:
        case Memory():
            return InMemoryChannelLayer()
        case Ipc(path):
            return _ipc(parsed, path, relays=relays)
        case Redis():
            return _redis(parsed.document.folder, address)
        case Django(alias):
            return _django(alias)
        case Imported(target):
            return _imported(target)


def _ipc(parsed: ParsedConfig, path: Path | None, *, relays: bool) -> ChannelLayer:
    path = _socket(path, parsed.document.folder, parsed.document.name, parsed.settings.store)
    try:
        address_of(path)
    except OSError as error:
        raise ValueError(f"ipc has no socket: {error.strerror}") from error
    made: ChannelLayer = imported("gateway.layers.ipc:ipc_layer")(path, relays=relays)
    return made


def _socket(path: Path | None, folder: Path, file: str, store: str) -> Path:
    if path is not None:
        return folder / path
    beside = places(folder, file, store)[0]
    return beside.with_name(f"{beside.name}{_SOCKET}")


def start_relay(folder: Path, file: str, settings: Settings) -> "Relay | None":
    """Relay for the processes of ``file``, if its layer is ``ipc`` and no other process does. Workers relay
    for one another without this, but their parent lives longer than each of them."""
    if not isinstance(address := parse_layer(settings.layer), Ipc):
        return None
    path = _socket(address.path, folder, file, settings.store)
    relay: Relay = imported("gateway.layers.ipc:Relay")(path)
    try:
        return relay if relay.start_alone() else None
    except OSError as error:
        logger.warning("layer: this process cannot relay at %s: %s", path, error.strerror or error)
        return None


def _redis(folder: Path, address: Redis) -> ChannelLayer:
    if importlib.util.find_spec("channels_redis") is None:
        raise ValueError(f"{address.scheme}:// needs channels_redis; pip install 'asgi-gateway[redis]'")
    files = {name: str(folder / path) for name, path in address.tls.items()}
    if files:
        try:
            client_context(files.get("ca"), files.get("certificate"), files.get("key"))
        except BindError as error:
            raise ValueError(str(error)) from error
    maker = "core:core_layer" if address.core else "pubsub:pubsub_layer"
    made: ChannelLayer = imported(f"gateway.layers.redis.{maker}")(replace(address, tls=files))
    return made


def _django(alias: str) -> ChannelLayer:
    try:
        layer: ChannelLayer = imported("gateway.django.channel_layers:layer_of")(alias)
    except ValueError as error:
        raise ValueError(f"django: {error}") from error
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "django":
            raise ValueError("django: Django is not installed; pip install 'asgi-gateway[django]'") from error
        raise TargetError(f"layer: django: {describe_error(error)}", source_lines(error)) from error
    except Exception as error:  # whatever the backend does
        sentence = f"layer: CHANNEL_LAYERS[{alias!r}] failed{place_of(error)}: {describe_error(error)}"
        raise TargetError(sentence, source_lines(error)) from error
    if type(layer).__module__ == "gateway.layers.installed":
        raise ValueError(
            "django: the BACKEND in CHANNEL_LAYERS is the gateway's own layer, which this file has to name; write "
            "layer: memory, ipc or redis://HOST"
        )
    return layer


def _imported(target: str) -> ChannelLayer:
    found = import_target(target)
    try:
        layer: ChannelLayer = found if _is_layer(found) or not callable(found) else found()
    except Exception as error:  # whatever the function does
        sentence = f"{target!r} failed{place_of(error)}: {describe_error(error)}"
        raise TargetError(sentence, source_lines(error)) from error
    if not _is_layer(layer):
        raise TargetError(f"{target!r} is not a channel layer; name a layer, or a function that returns one")
    return layer


def _is_layer(found: Any) -> bool:
    return not isinstance(found, type) and all(callable(getattr(found, name, None)) for name in _METHODS)
