"""Gives the layers below ``gateway.scopes`` the list of scope types, which is there."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any


@cache
def scope_kinds() -> Mapping[str, Any]:
    """Scope type -> its :class:`gateway.scopes.kind.ScopeKind`.

    :mod:`gateway.scopes.installed` is imported by its name, when it is first asked for: what it lists uses the
    layers that ask here, and a part of it comes from other distributions.
    """
    found: Mapping[str, Any] = import_module("gateway.scopes.installed").KINDS
    return found
