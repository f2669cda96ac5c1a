"""Composes what pydantic-core checks of settings, which are dataclasses of plain types.

pydantic composes the same, and imports a great deal for it; its JSON Schema and the reference are made when they are
asked for. A type of another kind, as a scope type of another distribution may have, is left to pydantic, and so is a
dataclass that says something to pydantic itself: a default that is its ``Field(ge=1)``, a validator.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from protocols.lazy_names import imported
from protocols.settings_config import is_settings_config

CoreSchema = dict[str, Any]
"""As :mod:`pydantic_core.core_schema` describes it."""


def core_schema(type_: Any) -> CoreSchema:
    """Return the schema of values of ``type_``."""
    origin = get_origin(type_)
    if origin is Annotated:
        schema = _annotated(*get_args(type_))
    elif origin in _COMPOSED:
        schema = _COMPOSED[origin](get_args(type_))
    elif type_ in _PLAIN:
        schema = {"type": _PLAIN[type_]}
    elif hasattr(type_, "__get_pydantic_core_schema__"):
        schema = type_.__get_pydantic_core_schema__(type_, _Handler(None, ()))
    else:
        schema = _dataclass(type_) if _is_settings(type_) else None
    return schema if schema is not None else dict(imported("pydantic:TypeAdapter")(type_).core_schema)


_PLAIN: Mapping[Any, str] = {str: "str", int: "int", float: "float", bool: "bool", Any: "any", NoneType: "none"}


def _annotated(type_: Any, *marks: Any) -> CoreSchema | None:
    if not all(hasattr(mark, "__get_pydantic_core_schema__") for mark in marks):
        return None
    return _Handler(type_, marks)(type_)


class _Handler:
    """What a mark in ``Annotated`` asks for the schema of its type: that of the type with the marks before it."""

    def __init__(self, type_: Any, marks: tuple[Any, ...]) -> None:
        self._marks = marks

    def __call__(self, source: Any) -> CoreSchema:
        if not self._marks:
            return core_schema(source)
        *before, mark = self._marks
        schema: CoreSchema = mark.__get_pydantic_core_schema__(source, _Handler(source, tuple(before)))
        return schema

    def generate_schema(self, source: Any) -> CoreSchema:
        return core_schema(source)


def _literal(values: tuple[Any, ...]) -> CoreSchema:
    return {"type": "literal", "expected": list(values)}


def _union(members: tuple[Any, ...]) -> CoreSchema:
    choices = [core_schema(each) for each in members if each is not NoneType]
    schema = choices[0] if len(choices) == 1 else {"type": "union", "choices": choices}
    return {"type": "nullable", "schema": schema} if NoneType in members else schema


def _list(members: tuple[Any, ...]) -> CoreSchema:
    return {"type": "list", "items_schema": core_schema(members[0])}


def _tuple(members: tuple[Any, ...]) -> CoreSchema | None:
    if len(members) != 2 or members[1] is not Ellipsis:
        return None
    return {"type": "tuple", "items_schema": [core_schema(members[0])], "variadic_item_index": 0}


def _dict(members: tuple[Any, ...]) -> CoreSchema:
    keys, values = map(core_schema, members)
    return {"type": "dict", "keys_schema": keys, "values_schema": values}


_COMPOSED: Mapping[Any, Callable[[tuple[Any, ...]], CoreSchema | None]] = {
    Literal: _literal,
    Union: _union,
    UnionType: _union,
    list: _list,
    tuple: _tuple,
    dict: _dict,
}


def _is_settings(type_: Any) -> bool:
    is_ours = is_dataclass(type_) and is_settings_config(getattr(type_, "__pydantic_config__", None))
    return is_ours and not any(map(_is_pydantics, _parts(type_)))


def _parts(type_: Any) -> Iterator[Any]:
    """Yield what the classes of ``type_`` have, and the marks of their fields."""
    for each in type_.__mro__:
        yield from vars(each).values()
    for hint in get_type_hints(type_, include_extras=True).values():
        yield from getattr(hint, "__metadata__", ())


def _is_pydantics(part: Any) -> bool:
    """Whether ``part`` says something to pydantic alone: ``Field(ge=1)``, a validator."""
    return type(part).__module__.partition(".")[0] in ("pydantic", "pydantic_core")


def _dataclass(type_: Any) -> CoreSchema:
    hints = get_type_hints(type_, include_extras=True)
    has_post_init = hasattr(type_, "__post_init__")
    return {
        "type": "dataclass",
        "cls": type_,
        "schema": {
            "type": "dataclass-args",
            "dataclass_name": type_.__name__,
            "fields": [_field(each, hints[each.name]) for each in _by_class(type_) if each.init],
            "collect_init_only": has_post_init,
        },
        "fields": [each.name for each in fields(type_)],
        "post_init": has_post_init,
        "slots": hasattr(type_, "__slots__"),
        "config": {"title": type_.__name__, "extra_fields_behavior": "forbid"},
    }


def _by_class(type_: type) -> list[Field[Any]]:
    """The fields as pydantic has them: those of a parent first, but for those that the class writes anew."""
    own = (inspect.get_annotations(each) for each in reversed(type_.__mro__))
    written = {name: number for number, names in enumerate(own) for name in names}
    return sorted(fields(type_), key=lambda each: written[each.name])


def _field(field: Field[Any], type_: Any) -> CoreSchema:
    schema = core_schema(type_)
    if field.default is not MISSING:
        schema = {"type": "default", "schema": schema, "default": field.default}
    elif field.default_factory is not MISSING:
        schema = {"type": "default", "schema": schema, "default_factory": field.default_factory}
    return {"type": "dataclass-field", "name": field.name, "schema": schema}
