"""Describes the operations as an OpenAPI 3.1 document, and as a page for people."""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

from gateway.console.operation import Operation
from gateway.console.parameters import LONGEST, MOST, Parameter
from gateway.console.schemas import Schemas
from gateway.console.table import operations

_TYPES: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string", "maxLength": LONGEST},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    list[str]: {"type": "array", "items": {"type": "string"}, "maxItems": MOST},
}
_ERROR = {
    "type": "object",
    "description": "Why the request was not answered.",
    "properties": {"error": {"type": "string", "description": "One sentence."}},
    "required": ["error"],
}
_REFUSED = {
    "description": "The request is wrong (400), not allowed (403), or names nothing (404).",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_EVENTS = (
    "Server-sent events. The data of each is one such object, its name the first key; after a failure the last one is "
    '`{"error": "..."}`.'
)


@cache
def openapi() -> Mapping[str, Any]:
    """Return the document."""
    over_http = [each for each in operations().values() if each.path]
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for each in over_http:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The console of the gateway",
            "version": "1",
            "description": "What an operator can ask of a gateway that runs, or have it do.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, **schemas.by_name}},
    }


def _operation(each: Operation, schemas: Schemas) -> Mapping[str, Any]:
    summary, _, more = each.words.partition("\n\n")
    found: dict[str, Any] = {
        "operationId": each.name,
        "tags": [each.path.split("/")[2]],
        "summary": summary,
        "parameters": [_parameter(parameter, each) for parameter in _in_url(each)],
        "responses": {"200": _answer(each, schemas), "default": _REFUSED},
    }
    if more:
        found["description"] = more
    if each.method == "POST":
        found["requestBody"] = _body(each)
    return found


def _in_url(each: Operation) -> Iterator[Parameter]:
    for parameter in each.parameters.values():
        if each.method != "POST" or parameter.name in each.in_path:
            yield parameter


def _parameter(parameter: Parameter, each: Operation) -> Mapping[str, Any]:
    return {
        "name": parameter.name,
        "in": "path" if parameter.name in each.in_path else "query",
        "required": parameter.required,
        "description": parameter.words,
        "schema": _schema(parameter),
    }


def _body(each: Operation) -> Mapping[str, Any]:
    own = {name: parameter for name, parameter in each.parameters.items() if name not in each.in_path}
    properties = {name: {**_schema(one), "description": one.words} for name, one in own.items()}
    required = [name for name, one in own.items() if one.required]
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _schema(parameter: Parameter) -> Mapping[str, Any]:
    if get_origin(parameter.type) is Literal:
        found: dict[str, Any] = {"type": "string", "enum": list(get_args(parameter.type))}
    else:
        found = dict(_TYPES[parameter.type])
    if (bounds := parameter.bounds) is not None:
        found["minimum"] = bounds.least
        if bounds.greatest is not None:
            found["maximum"] = bounds.greatest
    if not parameter.required and parameter.default not in (None, ""):
        found["default"] = parameter.default
    return found


def _answer(each: Operation, schemas: Schemas) -> Mapping[str, Any]:
    schema = {"schema": schemas.of(each.result)}
    if each.streams:
        return {"description": _EVENTS, "content": {"text/event-stream": schema}}
    return {"description": inspect.getdoc(each.result), "content": {"application/json": schema}}


def markdown() -> str:
    """Return the reference of the operations as a page."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield _HEAD
    for each in sorted(operations().values(), key=lambda one: one.name):
        yield from _section(each)


_HEAD = """# Operations

Everything that an operator can ask of a gateway that runs, or have it do. The [console](console.md) serves each over
HTTP, and the control socket by its name. [openapi.json](../config/openapi.json) has the form of the answers.
`gateway schema --format operations` writes this page from the source; `make check` fails if it is out of date."""


def _section(each: Operation) -> Iterator[str]:
    yield f"\n## `{each.name}`\n"
    how = f"`{each.method} {each.path}`" if each.path else "On the control socket only"
    yield f"{how}{'; a stream' if each.streams else ''}. {each.words}\n"
    if each.parameters:
        yield "| parameter | type | default | |"
        yield "|---|---|---|---|"
        for one in each.parameters.values():
            yield f"| `{one.name}` | {_type_words(one)} | {_default_words(one)} | {one.words} |"


def _type_words(one: Parameter) -> str:
    schema = _schema(one)
    if "enum" in schema:
        return ", ".join(f"`{name}`" for name in schema["enum"])
    if "minimum" in schema:
        most = f"to {schema['maximum']}" if "maximum" in schema else "or more"
        return f"{schema['type']}, {schema['minimum']} {most}"
    return str(schema["type"])


def _default_words(one: Parameter) -> str:
    if one.required:
        return "must be given"
    return "" if one.default in (None, "") else f"`{str(one.default).lower()}`"
