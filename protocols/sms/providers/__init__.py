"""The providers by their names: every module of this package holds one, a subclass of ``Provider``.

A new provider is a new file beside these, and nothing else.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from protocols.sms.provider import Provider, ProviderSettings, parts


def _find() -> Iterator[type[Provider[Any]]]:
    for found in iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Provider) and each.__module__ == module.__name__:
                yield each


PROVIDERS: Mapping[str, type[Provider[Any]]] = {each.name: each for each in _find()}
"""The providers, by their name under ``provider:`` in gateway.yaml."""


def provider_for(settings: ProviderSettings) -> Provider[Any]:
    """Return the provider that ``settings`` are for."""
    return PROVIDERS[settings.provider](settings)


def carries_replies(provider: str) -> bool:
    """Whether the response to a webhook of the provider of that name can carry replies."""
    known = PROVIDERS.get(provider)
    return known is None or known.carries_replies


def parts_of(event: Mapping[str, Any], provider: str) -> list[dict[str, Any]]:
    """Cut an ``sms.send`` into the texts that the provider of that name takes, in their order.

    A text for an unknown provider stays whole.
    """
    known = PROVIDERS.get(provider)
    return parts(event, known.longest if known else None)
