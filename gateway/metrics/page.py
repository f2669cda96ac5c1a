"""Describes every family, for ``docs/metrics.md``: ``make schema``."""

from collections.abc import Iterator, Mapping

from gateway.metrics.family import Family, Joined
from gateway.metrics.reader import SUCCESS
from gateway.metrics.table import READERS

BEGIN, END = "<!-- written from the definitions: make schema -->", "<!-- written to here -->"


def page(text: str) -> str:
    """Return ``text`` with the tables of now between the two marks."""
    before, _, rest = text.partition(BEGIN)
    return before + "\n".join([BEGIN, *_tables(), END]) + rest.partition(END)[2]


def _tables() -> Iterator[str]:
    for reader in READERS:
        yield from ("", f"### {reader.name.capitalize()}", "", *_HEAD)
        for family in reader.families:
            yield _row(family)
    yield from ("", "### The metrics themselves", "", *_HEAD, _row(SUCCESS), "")


_HEAD = ("| metric | kind | labels | of several workers | what it is |", "|---|---|---|---|---|")
_WORKERS: Mapping[Joined, str] = {"sum": "sum", "min": "least", "max": "greatest"}


def _row(family: Family) -> str:
    labels = ", ".join(f"`{each}`" for each in family.labels)
    workers = "same" if family.kind == "info" else _WORKERS[family.joined]
    return f"| `{family.name}` | {family.kind} | {labels} | {workers} | {family.help} |"
