"""Makes settings of the file's data. pydantic-core, without the package around it, checks every value."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from gateway.config.core_schema import core_schema
from gateway.config.scope_settings import looking_at
from gateway.config.settings import Settings
from gateway.scopes.installed import named
from protocols.bare_package import bare_package
from protocols.lazy_names import imported

with bare_package("pydantic_core"):
    from pydantic_core._pydantic_core import SchemaError, SchemaValidator, ValidationError

__all__ = ["ValidationError", "validated"]


def validated(data: Mapping[str, Any]) -> Settings:
    """Raises ValidationError."""
    settings: Settings = _validator(named(data)).validate_json(json.dumps(data), strict=True)
    return settings


@cache
def _validator(kinds: frozenset[str]) -> SchemaValidator:
    """Return what checks a file that names these scope types."""
    with looking_at(kinds):
        schema: Any = core_schema(Settings)
        try:
            return SchemaValidator(schema)
        except SchemaError:  # a later version describes schemas in another way, which its own pydantic knows
            composed: SchemaValidator = imported("pydantic:TypeAdapter")(Settings).validator
            return composed
