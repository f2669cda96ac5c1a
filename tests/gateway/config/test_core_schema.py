"""What pydantic-core checks of settings is what pydantic would let it check."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, TypeAdapter, field_validator
from pydantic_core import SchemaValidator, ValidationError

from gateway.config.core_schema import core_schema
from gateway.config.settings import Settings
from protocols.setting_forms import ByKey, NotEmpty, Text
from protocols.settings_config import SETTINGS_CONFIG

_LEFT_OUT = {"computed_fields", "default_factory_takes_data", "init", "kw_only", "metadata", "ref", "title"}
"""Keys that change nothing of what is checked."""


def plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """``schema`` with what it refers to, and without what changes nothing of it."""
    if isinstance(schema, list | tuple):
        return [plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return getattr(schema, "__code__", schema)  # a closure is made anew each time
    if schema.get("type") == "definition-ref":
        return plain(definitions[schema["schema_ref"]], definitions)
    if schema.get("type") == "definitions":
        return plain(schema["schema"], definitions | {each["ref"]: each for each in schema["definitions"]})
    kept = {key: value for key, value in schema.items() if key not in _LEFT_OUT and value is not False}
    return {key: plain(value, definitions) for key, value in kept.items()} | _defaults(schema)


def _defaults(schema: dict[str, Any]) -> dict[str, Any]:
    return {"default": schema["default"]} if schema.get("type") == "default" and "default" in schema else {}


def by_pydantic(type_: Any) -> Any:
    return plain(TypeAdapter(type_).core_schema, {})


def test_the_settings_are_checked_as_pydantic_checks_them() -> None:
    assert plain(core_schema(Settings), {}) == by_pydantic(Settings)


@dataclass(frozen=True)
class Plain:
    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    kind: Literal["plain"]
    name: Annotated[str, Text(least=1, most=3, pattern="^a")] | None = None


@dataclass(frozen=True, slots=True)
class Slotted:
    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    kind: Literal["slotted"]
    name: str = "a"


def test_a_dataclass_with_slots_is_one_to_pydantic_core() -> None:
    assert plain(core_schema(Slotted), {}) == by_pydantic(Slotted)
    assert SchemaValidator(core_schema(Slotted)).validate_python({"kind": "slotted"}) == Slotted("slotted")


@dataclass(frozen=True)
class Dated:
    """Its types are pydantic's own business."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    kind: Literal["dated"]
    since: date
    pages: Annotated[int, Field(ge=1)] = 1


@dataclass(frozen=True)
class Marked:
    """It says things to pydantic that only pydantic knows."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    kind: Literal["marked"]
    pages: int = Field(default=5, ge=4)
    colour: Annotated[str, Field(alias="color")] = "red"

    @field_validator("colour")
    @classmethod
    def check_colour(cls, colour: str) -> str:
        return colour.lower()


Either = Annotated[dict[str, Annotated[Plain | Dated | Marked, ByKey("kind")]], NotEmpty()]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"a": {"kind": "other"}},
        {"a": {"kind": "plain", "name": "b"}},
        {"a": {"kind": "plain", "name": "abcd"}},
        {"a": {"kind": "plain", "size": 1}},
        {"a": {"kind": "dated", "since": "yesterday"}},
        {"a": {"kind": "dated", "since": "2026-01-02", "pages": 0}},
        {"a": {"kind": "marked", "pages": 3}},
        {"a": {"kind": "marked", "colour": "red"}},
    ],
)
def test_types_of_others_are_checked_by_pydantic(wrong: Any) -> None:
    validator = SchemaValidator(core_schema(Either))
    right = {"a": {"kind": "dated", "since": date(2026, 1, 2)}, "b": {"kind": "plain", "name": "abc"}}
    assert validator.validate_python(right) == {"a": Dated("dated", date(2026, 1, 2)), "b": Plain("plain", "abc")}
    with pytest.raises(ValidationError):
        validator.validate_python(wrong)
    with pytest.raises(ValidationError):
        TypeAdapter(Either).validate_python(wrong)


def test_what_is_said_to_pydantic_holds() -> None:
    marked = {"a": {"kind": "marked", "color": "GREEN"}, "b": {"kind": "marked"}}
    made = SchemaValidator(core_schema(Either)).validate_python(marked)
    assert made == TypeAdapter(Either).validate_python(marked)
    assert (made["a"].colour, made["b"].pages) == ("green", 5)
