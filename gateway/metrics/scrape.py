"""What ``/metrics`` answers."""

import gzip

from gateway.console.http.answer import Exposition
from gateway.metrics.snapshot import Snapshot
from gateway.metrics.table import FAMILIES
from gateway.metrics.workers import of_all
from gateway.own_thread import operator_thread
from gateway.succession import Succession

LEVEL = 1
"""Level 1 of gzip makes 500 KB 13 times smaller in 1 ms; level 9 makes them 17 times smaller in 7 ms."""


async def scrape(here: Succession, accept: str, accept_encoding: str) -> Exposition:
    """``accept`` and ``accept_encoding`` are header fields of the request. The answer is written on a thread: thousands
    of series take a while."""
    return await operator_thread.run(_write, await of_all(here), accept, accepts_gzip(accept_encoding))


def _write(taken: Snapshot, accept: str, is_zipped: bool) -> Exposition:
    from gateway.metrics.exposition import render  # not on the event loop: prometheus-client takes 50 ms to import

    kind, body = render(FAMILIES, taken, accept)
    return Exposition(kind, gzip.compress(body, LEVEL) if is_zipped else body, is_zipped)


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header (RFC 9110, 12.5.3) accepts gzip: by its name, or else by a star."""
    codings = dict(map(_coding, accept_encoding.split(",")))
    return codings.get("gzip", codings.get("*", False))


def _coding(text: str) -> tuple[str, bool]:
    """Return the name of a coding, and whether it is accepted: its weight is not 0."""
    name, _, parameters = text.partition(";")
    weight = parameters.strip().lower().removeprefix("q=").strip()
    return name.strip().lower(), weight.strip("0") not in ("", ".") or not parameters.strip()
