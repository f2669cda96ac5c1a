"""``gateway schema``: the form of gateway.yaml, for editors and for readers."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.terminal import print_json, print_text
from gateway.config.schema import json_schema, markdown
from gateway.console import openapi
from gateway.logs import fields


class Form(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"
    OPENAPI = "openapi"
    OPERATIONS = "operations"
    LOG = "log"


Format = Annotated[
    Form,
    typer.Option(
        "--format",
        help="json: for editors; markdown: the reference; openapi: the console's interface; operations: its reference; "
        "log: records of the log.",
    ),
]


def schema(form: Format = Form.JSON) -> None:
    """Print the JSON Schema of gateway.yaml, or its reference in Markdown; or what the console's interface is; or the
    JSON Schema of the log's records.

    Example: gateway schema > gateway.schema.json
    """
    _PRINT[form]()


_PRINT: Mapping[Form, Callable[[], None]] = {
    Form.JSON: lambda: print_json(json_schema()),
    Form.MARKDOWN: lambda: print_text(markdown().rstrip()),
    Form.OPENAPI: lambda: print_json(openapi.openapi()),
    Form.OPERATIONS: lambda: print_text(openapi.markdown()),
    Form.LOG: lambda: print_json(fields.json_schema()),
}
