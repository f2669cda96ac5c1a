"""Makes the JSON Schema of gateway.yaml, and the reference page from it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter

from gateway.config.settings import Settings
from protocols.settings_config import documented

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema for editors, which complete keys, show descriptions and report errors while you write a
    gateway.yaml."""
    with documented():
        schema = _for_editors(TypeAdapter(Settings).json_schema(by_alias=True))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "gateway.yaml"}


def _for_editors(value: Any) -> Any:
    """Rewrite ``value`` for validators, which ignore ``discriminator`` and names that match no pattern."""
    if isinstance(value, list):
        return [_for_editors(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "discriminator" in value:
        return _by_tag(value)
    strict = {"additionalProperties": False} if "patternProperties" in value else {}
    return {key: _for_editors(below) for key, below in value.items()} | strict


def _by_tag(union: Schema) -> Schema:
    """Choose a union's member by its tag, so that an editor reports the mistake in it, and not that no member fits."""
    tag, mapping = union["discriminator"]["propertyName"], union["discriminator"]["mapping"]
    in_order = sorted(mapping.items(), key=lambda item: union["oneOf"].index(_reference(item[1])))
    members = [
        {
            "if": {"required": [tag], "properties": {tag: {"const": name}}},
            "then": _for_editors(_reference(target)),
        }
        for name, target in in_order
    ]
    return {"type": "object", "required": [tag], "properties": {tag: {"enum": [*mapping]}}, "allOf": members}


class Keys:
    """Answers which keys a mapping of the file may have."""

    def __init__(self) -> None:
        self._root = TypeAdapter(Settings).json_schema()

    def at(self, data: Any, steps: tuple[str | int, ...]) -> set[str]:
        """Return the keys that the mapping at ``steps`` of ``data`` may have."""
        return {key for schema in self._schemas(data, steps) for key in schema.get("properties", {})}

    def required(self, data: Any, steps: tuple[str | int, ...]) -> list[str]:
        """Return the keys that a mapping at ``steps`` must have; if there are none, the first that it may have."""
        schemas = [schema for schema in self._schemas(data, steps) if schema.get("properties")]
        if not schemas:
            return []
        required: list[str] = schemas[0].get("required", [])
        return required or [next(iter(schemas[0]["properties"]))]

    def _schemas(self, data: Any, steps: tuple[str | int, ...]) -> list[Schema]:
        schemas = list(self._cases(self._root, data))
        for step in steps:
            data = data[step]
            below = [child for schema in schemas if (child := _child(schema, step))]
            schemas = [case for schema in below for case in self._cases(schema, data)]
        return schemas

    def _cases(self, schema: Schema, data: Any) -> Iterator[Schema]:
        """Resolve references and unions of ``schema`` to the members that the discriminator in ``data`` allows."""
        if "$ref" in schema:
            yield from self._cases(self._root["$defs"][schema["$ref"].rpartition("/")[2]], data)
            return
        members = schema.get("anyOf") or schema.get("oneOf") or []
        if "discriminator" in schema and isinstance(data, dict):
            chosen = data.get(schema["discriminator"]["propertyName"])
            mapping = schema["discriminator"]["mapping"]
            known = isinstance(chosen, str) and chosen in mapping
            members = [_reference(mapping[chosen])] if known else members
        for member in members:
            yield from self._cases(member, data)
        if not members:
            yield schema


def _reference(mapped: Any) -> Schema:
    """Return the schema that a discriminator maps to: a reference, or a nested union."""
    return {"$ref": mapped} if isinstance(mapped, str) else mapped


def _child(schema: Schema, step: str | int) -> Schema | None:
    if isinstance(step, int):
        items: Schema | None = schema.get("items")
        return items
    named = next(iter(schema.get("patternProperties", {}).values()), None)  # a mapping by name has the one pattern
    child = schema.get("properties", {}).get(step) or named
    return child if isinstance(child, dict) else None


def markdown() -> str:
    """Return the reference of gateway.yaml: a table of keys for each mapping, in the order of the file."""
    schema = json_schema()
    sections = [_section("gateway.yaml", schema), *(_section(*item) for item in _ordered(schema))]
    return "\n\n".join([_INTRODUCTION, *sections]) + "\n"


_INTRODUCTION = """# gateway.yaml: every key

`gateway schema --format markdown` writes this page from the settings; `make check` fails if it is out of date.
`gateway.yaml.example` is an annotated file, `config/gateway.schema.json` is for editors.

Durations are written `500ms`, `5s`, `10m`, `1h`; sizes `64KiB`, `10MiB`; addresses `host:port`, `[::1]:8000`,
`unix:/run/g.sock`, `fd:3`. `${NAME}`, `${NAME:-default}` and `${file:/run/secrets/x}` stand for an environment variable
and for a file's content; `$${` is a plain `${`. Only `true` and `false` are booleans; `+15551234567`, `on`, `no` and
`12:30:45` stay text. Relative paths start at the file's own folder."""


def _ordered(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each mapping with its title, in the order in which the schema refers to them."""
    definitions, seen = schema["$defs"], list[str]()
    queue = list(_references(schema["properties"]))
    while queue:
        name = queue.pop(0)
        if name not in seen:
            seen.append(name)
            queue += _references(definitions[name])
    for name in seen:
        yield _title(name, definitions[name]), definitions[name]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for key, below in value.items():
            if key != "discriminator":
                yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


def _title(name: str, definition: Schema) -> str:
    properties = definition["properties"]
    parts = [f"{key}: {_default(properties[key])}" for key in ("protocol", "provider") if key in properties]
    return f"`{', '.join(parts).replace('`', '')}`" if parts else name.removesuffix("Settings")


def _section(title: str, definition: Schema) -> str:
    required = definition.get("required", [])
    rows = [
        f"| `{key}` | {_type(value)} | {'**required**' if key in required else _default(value)} | {_words(value)} |"
        for key, value in definition["properties"].items()
    ]
    head = ["| key | value | default | |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", _words(definition), "", *head, *rows])


def _words(value: Schema) -> str:
    return " ".join(value.get("description", "").split()).replace("``", "`").replace("|", "\\|")


def _default(value: Schema) -> str:
    default = value.get("default", value.get("const"))
    if default is None or default == {}:
        return ""
    if (unit := _unit(value)) in _WRITE:
        return f"`{_WRITE[unit](default)}`"
    return f"`{json.dumps(default, ensure_ascii=False) if not isinstance(default, str) or not default else default}`"


def _unit(value: Schema) -> str:
    """Return ``duration``, ``size`` or ``address``, recognized by the first example; empty for other types."""
    return _UNITS.get(next(iter(value.get("examples", [])), ""), "")


_UNITS = {"500ms": "duration", "64KiB": "size", "127.0.0.1:8000": "address"}


def _duration(seconds: float) -> str:
    whole = (f"{seconds / unit:g}{name}" for name, unit in _TIMES if seconds and not seconds % unit)
    return next(whole, f"{seconds:g}s")


def _size(number: int) -> str:
    whole = (f"{number // unit}{name}" for name, unit in _SIZES if number and not number % unit)
    return next(whole, str(number))


_TIMES = (("d", 86400), ("h", 3600), ("m", 60))
_SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_WRITE: dict[str, Callable[[Any], str]] = {"duration": _duration, "size": _size}


def _type(value: Schema) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2].removesuffix("Settings")
    if "enum" in value or "const" in value:
        return " or ".join(
            f"`{json.dumps(each) if isinstance(each, bool) else each}`"
            for each in value.get("enum", [value.get("const")])
        )
    if members := value.get("anyOf") or value.get("oneOf"):
        kinds = dict.fromkeys(_type(member) for member in members if member.get("type") != "null")
        return " or ".join(kinds)
    return _unit(value) or _plain_type(value)


def _plain_type(value: Schema) -> str:
    match value.get("type"):
        case "array":
            return f"list of {_type(value['items'])}" if "items" in value else "list"
        case "object":
            return "mapping by name"
        case kind:
            return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(str(kind), str(kind))
