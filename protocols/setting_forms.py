"""What stands beside a type in ``Annotated``: bounds of a setting, its description, which type of several it has.

Each says what pydantic-core has to check. pydantic finds that too, for the JSON Schema and the reference.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Text:
    """Bounds of a text: its length, and a regular expression that it matches."""

    least: int = 0
    most: int | None = None
    pattern: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        bounds = {"min_length": self.least or None, "max_length": self.most, "pattern": self.pattern}
        return {"type": "str"} | {name: bound for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True)
class NotEmpty:
    """A list or a mapping with one member at least."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return {**handler(source), "min_length": 1}


@dataclass(frozen=True)
class Described:
    """The description of a setting that has no docstring."""

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "description": self.words}


@dataclass(frozen=True)
class ByKey:
    """A union of settings; the value of ``key``, a literal in each, says which it is."""

    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        members = get_args(source) if get_origin(source) in (Union, UnionType) else (source,)
        return self.of(members, handler)

    def of(self, members: Iterable[Any], handler: Any) -> dict[str, Any]:
        """Return the schema of a union of ``members``, each of which may be a union itself."""
        choices = {name: handler.generate_schema(each) for each in members for name in names_in(each, self.key)}
        return {"type": "tagged-union", "choices": choices, "discriminator": self.key}


@dataclass(frozen=True)
class ByForm:
    """A union; ``form`` says by a value which member it is: one of ``names``, which are in the members' order."""

    form: Callable[[object], str]
    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        choices = map(handler.generate_schema, get_args(source))
        by_name = dict(zip(self.names, choices, strict=True))
        return {"type": "tagged-union", "choices": by_name, "discriminator": self.form}


def members_of(settings: Any) -> Iterator[type]:
    """Yield the dataclasses of a union, which may be nested and annotated."""
    origin = get_origin(settings)
    if origin is Annotated:
        yield from members_of(get_args(settings)[0])
    elif origin in (Union, UnionType):
        for each in get_args(settings):
            yield from members_of(each)
    else:
        yield settings


def names_in(settings: Any, key: str) -> tuple[str, ...]:
    """Return the values that ``key`` may have in settings. Raises TypeError if it is missing, or may be any text."""
    return tuple(dict.fromkeys(name for each in members_of(settings) for name in _names(each, key)))


def _names(settings: type, key: str) -> tuple[str, ...]:
    found = get_type_hints(settings).get(key) if is_dataclass(settings) else None
    if get_origin(found) is not Literal:
        raise TypeError(f"{settings!r} has not the form of server settings: a dataclass with {key}: Literal[...]")
    return get_args(found)
