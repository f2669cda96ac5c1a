"""What is generated from the settings is what lies here; the example is right by the schema too."""

import json
from pathlib import Path

import jsonschema
import pytest
from test_cases import CASES, ENVIRON, SEPARATOR

from gateway.config import yaml_file
from gateway.config.schema import json_schema, markdown

ROOT = Path(__file__).parents[3]


def test_the_schema_is_current() -> None:
    assert json.loads((ROOT / "config/gateway.schema.json").read_text()) == json_schema(), "make schema"


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == markdown(), "make schema"


def data(text: str) -> object:
    return yaml_file.read(text, name="gateway.yaml", folder=ROOT, environ={}).data


def test_the_example_is_right_by_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(data((ROOT / "gateway.yaml.example").read_text()), json_schema())


@pytest.mark.parametrize(
    "text", ["servers: []", "servers: {web: {protocol: http, bnid: x}}", "servers: {web: {protocol: x}}", "x: 1"]
)
def test_an_editor_sees_mistakes(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data(text), json_schema())


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("servers: {web: {bind: ':80'}}", "servers/web", "'protocol' is a required property"),
        ("servers: {web: {acl: []}}", "servers/web", "'protocol' is a required property"),
        ("servers: {web: {protocol: htpp}}", "servers/web/protocol", "'htpp' is not one of ['http', "),
        ("servers: {web: {protocol: http, bnid: x}}", "servers/web", "('bnid' was unexpected)"),
        ("servers: {web: {protocol: http, max_connections: 0}}", "servers/web/max_connections", "0 is less than"),
        ("servers: {t: {protocol: sms, provider: nobody}}", "servers/t/provider", "'nobody' is not one of"),
        ("servers: {t: {protocol: sms, provider: generic}}", "servers/t", "'on' is a required property"),
        ("servers: {'my web': {protocol: http}}", "servers", "'my web' does not match"),
    ],
)
def test_an_editor_says_where_and_what(text: str, place: str, words: str) -> None:
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(data(text)))
    assert [("/".join(error.absolute_path), words in error.message) for error in errors][:1] == [(place, True)], errors


def cases() -> list[tuple[str, str]]:
    texts = [path.read_text().partition(SEPARATOR) for path in CASES]
    return [(text, path.stem) for path, (text, _, result) in zip(CASES, texts, strict=True) if result.startswith("{")]


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=name) for text, name in cases() if not name.startswith("numbers")]
)
def test_what_check_finds_right_is_right_by_the_schema(text: str) -> None:
    """But for numbers that stand for text, which editors are right to frown at."""
    document = yaml_file.read(text, name="gateway.yaml", folder=ROOT, environ=ENVIRON)
    jsonschema.validate(document.data, json_schema())


def test_every_key_has_its_words() -> None:
    schema = json_schema()
    for name, definition in {"gateway.yaml": schema, **schema["$defs"]}.items():
        for key, value in definition["properties"].items():
            assert {"description", "$ref", "const"} & value.keys(), f"{name}.{key} has no docstring"
