"""The operation ``configuration``: the checked file, without its secrets."""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypedDict

from gateway.config.masking import hides
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.own_thread import operator_thread
from gateway.secret_names import hide_passwords
from protocols.secret import Secret

STARS = "***"
_QUERY = re.compile(r"(://[^\s?#]*\?)[^\s#]+")
"""Queries of URLs often have a key in them, under whatever name."""


class Configuration(TypedDict):
    """What the file says, with every default."""

    file: str
    """Its name."""
    settings: Mapping[str, Any]
    """The settings, by the keys of the file. Stars stand for secrets."""


@operation("configuration", "GET", "/api/configuration")
async def configuration(here: Here) -> Configuration:
    """Show the configuration that is in force, with every default, and with stars in place of secrets."""
    settings = await operator_thread.run(_plain, here.gateway.settings)  # there may be 50,000 routes
    return {"file": here.gateway.file, "settings": settings}


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return STARS if value else ""
    if is_dataclass(value):
        return {each.name: _named(each.name, getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _named(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return _QUERY.sub(rf"\1{STARS}", hide_passwords(value))
    return value if isinstance(value, bool | int | float | None) else str(value)


def _named(key: str, value: Any) -> Any:
    """Mask text whose key says that it is a secret, also if its setting is not declared as one."""
    return STARS if hides(key, value) else _plain(value)
