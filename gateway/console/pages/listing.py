"""Pages that list what an operation finds, page by page, and change what is chosen of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin
from urllib.parse import urlencode

from gateway.console.here import Here
from gateway.console.pages.page import Asked, Content, Page
from gateway.console.pages.words import label
from gateway.console.parameters import Parameter
from gateway.console.table import operations

SHOWN = 50
"""Entries of a page."""
_PAGING = ("limit", "after", "count")


@dataclass(frozen=True)
class Column:
    """A column of the table. ``form`` is the name of a function in ``words``."""

    heading: str
    key: str
    form: str = ""


@dataclass(frozen=True)
class Action:
    """A change of what is chosen. ``question`` is asked first; ``{}`` in it is what is chosen."""

    label: str
    operation: str
    question: str

    @property
    def call(self) -> str:
        wanted = operations()[self.operation]
        return f"{wanted.method} {wanted.path}"

    @property
    def streams(self) -> bool:
        """Whether it tells how far it is."""
        return operations()[self.operation].streams

    def filters(self, filters: Mapping[str, Any]) -> dict[str, Any]:
        """Return those that it knows: the order of a list is none of them."""
        known = operations()[self.operation].parameters
        return {name: value for name, value in filters.items() if name in known}

    @property
    def is_rated(self) -> bool:
        """Whether it can be made slower."""
        return "rate" in operations()[self.operation].parameters

    @property
    def takes_everything(self) -> bool:
        """Whether it must be said that no filter is meant."""
        return "everything" in operations()[self.operation].parameters


@dataclass(frozen=True)
class Listing:
    """What a page lists."""

    path: str
    title: str
    operation: str
    key: str
    """The key of an entry that tells it from all others."""
    named: str
    """The parameter by which an action gets such keys."""
    columns: Sequence[Column]
    filters: Sequence[str]
    """The parameters that the form shows; others count if the address has them."""
    empty: str
    """The text of a page without entries, if no filter is set."""
    actions: Sequence[Action] = ()
    export: str = ""
    """Where all that match can be downloaded."""
    shown_by: str = "id"
    """The parameter by which the page of one entry gets its key."""
    per_server: bool = False
    """Whether two servers may have an entry of the same key."""

    def page(self) -> Page:
        return Page(self.path, self.title, "list.html", self.content)

    async def content(self, here: Here, asked: Asked) -> Content:
        wanted = operations()[self.operation]
        asked.has_only(wanted)
        given = asked.arguments(wanted)
        found = await wanted.answer(here, {"limit": SHOWN, **given})
        filters = {name: value for name, value in given.items() if _is_filter(wanted.parameters[name], value)}
        return {
            "listing": self,
            "entries": found["entries"],
            "total": found["total"],
            "fields": [Field.of(wanted.parameters[name], given) for name in self.filters],
            "filters": filters,
            "chosen": self.actions[0].filters(filters) if self.actions else {},
            "query": urlencode({**_as_texts(filters)}, doseq=True),
            "next": found["next"],
            "is_first": not given.get("after"),
        }


@dataclass(frozen=True)
class Field:
    """A field of the form with the filters."""

    name: str
    words: str
    kind: str
    """``search``, ``number``, ``checkbox`` or ``select``."""
    value: Any
    choices: Sequence[str] = ()

    @property
    def label(self) -> str:
        return _LABELS.get(self.name) or label(self.name)

    @classmethod
    def of(cls, parameter: Parameter, given: Mapping[str, Any]) -> "Field":
        choices = _choices(parameter)
        kind = "select" if choices else _KINDS[parameter.type]
        words = parameter.words.rstrip(".").replace("`", "")
        value = given.get(parameter.name, "")
        return cls(parameter.name, words, kind, _as_text(value) if choices else value, choices)


_LABELS = {"by": "Order by most", "attempts": "Attempts, or more", "filter": "Topic filter", "text": "Contains"}
_KINDS = {str: "search", int: "number", bool: "checkbox"}


def _choices(parameter: Parameter) -> Sequence[str]:
    """What a field offers. A truth that may also be left open has no checkbox: that knows two states only."""
    if parameter.type is bool and parameter.default is None:
        return ("true", "false")
    return get_args(parameter.type) if get_origin(parameter.type) is not None else ()


def _is_filter(parameter: Parameter, value: Any) -> bool:
    """Whether it leaves something out, or orders the list. ``connected=false`` does: its default is neither."""
    return parameter.name not in _PAGING and value != parameter.default


def _as_texts(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as_text(value) for name, value in filters.items()}


def _as_text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
