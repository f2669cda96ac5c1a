"""What a query in PromQL names: metrics, and labels in selectors and groupings."""

import re
from collections.abc import Iterator, Mapping

from gateway.metrics.family import Family

OF_THE_SCRAPE = frozenset({"instance", "job"})
"""Labels that Prometheus adds."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_METRIC = re.compile(r"\b((?:gateway|process)_[a-z0-9_]+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=|,|$)")
_PARTS = ("_bucket", "_sum", "_count")


def wrong(query: str, families: Mapping[str, Family]) -> list[str]:
    """Say what the query names that no family has."""
    return list(_wrong(_STRING.sub('""', query), families))


def _wrong(query: str, families: Mapping[str, Family]) -> Iterator[str]:
    known = set(OF_THE_SCRAPE)
    for name, selector in _METRIC.findall(query):
        family = _family(name, families)
        if family is None:
            yield f"there is no metric {name}"
            continue
        labels = {*family.labels, *OF_THE_SCRAPE} | ({"le"} if name.endswith("_bucket") else set())
        known |= labels
        yield from (f"{name} has no label {each}" for each in _LABEL.findall(selector) if each not in labels)
    for grouping in _GROUPING.findall(query):
        yield from (f"nothing there has a label {each}" for each in _LABEL.findall(grouping) if each not in known)


def _family(name: str, families: Mapping[str, Family]) -> Family | None:
    for part in _PARTS:
        base = families.get(name.removesuffix(part)) if name.endswith(part) else None
        if base is not None and base.kind == "histogram":
            return base
    found = families.get(name)
    return None if found is None or found.kind == "histogram" else found
