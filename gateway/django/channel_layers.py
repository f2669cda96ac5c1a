"""The layers of Channels that the setting ``CHANNEL_LAYERS`` names. The package ``channels`` is optional."""

from typing import Any


def layer_of(alias: str) -> Any:
    """Return the layer called ``alias``. Raises ValueError, with one sentence."""
    try:
        from channels.layers import channel_layers
    except ImportError as error:
        raise ValueError("it needs the package channels; pip install channels") from error
    from django.core.exceptions import ImproperlyConfigured

    try:
        known = channel_layers.configs
    except ImproperlyConfigured as error:
        raise ValueError("Django is not set up; write django: {settings: ...}, too") from error
    if alias not in known:
        there = f"it has {', '.join(map(repr, known))}" if known else "it is empty, or not there"
        raise ValueError(f"CHANNEL_LAYERS of the settings has no {alias!r}; {there}")
    return channel_layers[alias]
