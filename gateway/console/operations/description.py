"""The operation ``openapi``: the interface itself."""

from collections.abc import Mapping
from typing import Any, TypedDict

from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.own_thread import operator_thread
from protocols.lazy_names import imported


class Document(TypedDict):
    """An OpenAPI document."""

    openapi: str
    """The version of OpenAPI."""
    info: Mapping[str, Any]
    """Title and version."""
    paths: Mapping[str, Any]
    """The operations, by path and method."""
    components: Mapping[str, Any]
    """The schemas of their answers."""


@operation("openapi", "GET", "/api/openapi.json")
async def openapi(here: Here) -> Document:
    """Describe this interface as OpenAPI has it."""
    return await operator_thread.run(_described)


def _described() -> Document:
    document: Document = imported("gateway.console.openapi:openapi")()
    return document
