"""Makes the channel layer that a file asks for."""

from typing import Any

from gateway.config.diagnostics import Diagnostic
from gateway.config.loader import ParsedConfig
from gateway.layers import ChannelLayer, InMemoryChannelLayer
from gateway.runtime.importing import TargetError, import_target, place_of, source_lines
from protocols.errors import describe_error

_METHODS = ("new_channel", "send", "receive", "group_add", "group_discard", "group_send")


def make_layer(parsed: ParsedConfig) -> tuple[ChannelLayer, list[Diagnostic]]:
    """Return the layer, and what is wrong with the one that the file names: then it is one in memory."""
    try:
        return (_imported(parsed.settings.layer) if parsed.settings.layer != "memory" else InMemoryChannelLayer()), []
    except TargetError as error:
        return InMemoryChannelLayer(), [parsed.document.at_value(("layer",), str(error)).with_lines(error.trace)]


def _imported(target: str) -> ChannelLayer:
    if not set(target) & set(".:") or "://" in target:
        raise TargetError(f"layer: {target!r} is not a layer; write memory, or module.attribute")
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
