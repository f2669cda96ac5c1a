"""``gateway schema``: the form of gateway.yaml, for editors and for readers."""

from enum import StrEnum
from typing import Annotated

import typer

from gateway.cli.terminal import print_json, print_text
from gateway.config.schema import json_schema, markdown


class Form(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"


def schema(
    form: Annotated[Form, typer.Option("--format", help="json: for editors; markdown: the reference.")] = Form.JSON,
) -> None:
    """Print the JSON Schema of gateway.yaml, or its reference in Markdown.

    Example: gateway schema > gateway.schema.json
    """
    if form is Form.JSON:
        print_json(json_schema())
    else:
        print_text(markdown().rstrip())
