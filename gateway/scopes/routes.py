"""What the settings of routes share, whichever scope type they are for."""

from dataclasses import fields
from functools import cache
from typing import Annotated, Any

from gateway.delivery.policy import Policy
from protocols.lazy_names import imported
from protocols.setting_forms import Text
from protocols.settings_config import settings_config

Target = Annotated[str, Text(least=1, most=200)]
"""The type of ``app``: ``module.attribute`` or ``module:attribute``."""
_POLICY = {key.name for key in fields(Policy)}


def with_policy(policy: type[Policy]) -> dict[str, Any]:
    """Return the ``__pydantic_config__`` of settings that extend ``policy``."""

    def own_keys_first(schema: dict[str, Any]) -> None:
        """Put a route's own keys before those of its policy. pydantic puts a parent's fields first, and reads the
        docstrings of a class's own source only."""
        inherited = imported("pydantic:TypeAdapter")(policy).json_schema()["properties"]
        found = schema["properties"]
        own = {key: value for key, value in found.items() if key not in inherited}
        described = {key: {"description": each.get("description", "")} | found[key] for key, each in inherited.items()}
        schema["properties"] = own | described

    return settings_config(json_schema_extra=own_keys_first)


WITH_POLICY = with_policy(Policy)
"""``__pydantic_config__`` of a route's settings that extend :class:`~gateway.delivery.policy.Policy`."""


class KeyMistake(ValueError):
    """A key of a route, ``key``, has a value that it cannot have; empty: the route lacks one."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key


@cache
def keys_of(route: type) -> tuple[str, ...]:
    """The fields by which a route says what it takes, in their order."""
    return tuple(key.name for key in fields(route) if key.name != "app" and key.name not in _POLICY)
