"""What is generated from the settings is what lies here; the example is right by the schema too."""

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # has no types
import pytest

from gateway import yamlfile
from gateway.schema import json_schema, markdown

ROOT = Path(__file__).parents[2]


def test_the_schema_is_current() -> None:
    assert json.loads((ROOT / "config/gateway.schema.json").read_text()) == json_schema(), "make schema"


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == markdown(), "make schema"


def data(text: str) -> object:
    return yamlfile.read(text, name="gateway.yaml", folder=ROOT, environ={}).data


def test_the_example_is_right_by_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(data((ROOT / "gateway.yaml.example").read_text()), json_schema())


@pytest.mark.parametrize(
    "text", ["servers: {}", "servers: {web: {protocol: http, bnid: x}}", "servers: {web: {protocol: x}}", "x: 1"]
)
def test_an_editor_sees_mistakes(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data(text), json_schema())


def test_every_key_has_its_words() -> None:
    schema = json_schema()
    for name, definition in {"gateway.yaml": schema, **schema["$defs"]}.items():
        for key, value in definition["properties"].items():
            assert {"description", "$ref", "const"} & value.keys(), f"{name}.{key} has no docstring"
