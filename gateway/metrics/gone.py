"""Forgets the counters of what is gone: a server, or a route, that the file named before a reload."""

from collections.abc import Iterator, Mapping
from itertools import islice
from time import monotonic

from gateway.metrics.family import Family
from gateway.metrics.snapshot import OTHER, Snapshot

SHOWN = 600.0
"""Seconds for which they are still shown, so that a scrape has their last values."""
MOST = 200
"""Names that are gone and still shown. If there are more, those that are gone for longest are forgotten sooner."""
Name = tuple[str, str]
"""A label, ``server`` or ``route``, and its value."""
_LABELS = ("server", "route")


def forget(families: Mapping[str, Family], kept: Snapshot, taken: Snapshot, gone: dict[Name, float]) -> None:
    """Remove from ``kept``, the counters of gateways that have ended, those whose server or route is gone for too long.

    ``taken`` is of the gateways that run: it has a series of every server and route of their files. ``gone`` remembers
    since when (monotonic) a name is gone, the oldest first.
    """
    now, here = monotonic(), {*_names(families, taken), ("route", OTHER)}
    missing = {name for name in _names(families, kept) if name not in here}
    for name in gone.keys() - missing:
        del gone[name]
    for name in missing:
        gone.setdefault(name, now)
    old = {name for name, since in gone.items() if now - since > SHOWN}
    old.update(islice(gone, max(0, len(gone) - MOST)))
    if old:
        kept.update(_without(families, kept, old))
        for name in old:
            del gone[name]


def _names(families: Mapping[str, Family], snapshot: Snapshot) -> Iterator[Name]:
    for name, series in snapshot.items():
        if not set(_LABELS).isdisjoint(families[name].labels):
            for labels, _ in series:
                yield from _named(families[name], labels)


def _named(family: Family, labels: list[str]) -> Iterator[Name]:
    return ((label, value) for label, value in zip(family.labels, labels, strict=True) if label in _LABELS)


def _without(families: Mapping[str, Family], kept: Snapshot, old: set[Name]) -> Snapshot:
    return {
        name: [each for each in series if old.isdisjoint(_named(families[name], each[0]))]
        for name, series in kept.items()
    }
