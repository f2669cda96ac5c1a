"""Writes a line for each arrival: ``log: {arrivals: true}``."""

import logging

from gateway.arrivals import Arrival
from gateway.arrivals.outcome import outcome
from gateway.logs.colours import GREEN, RED, YELLOW, coloured
from gateway.logs.columns import Columns
from gateway.logs.escaping import one_line, shortened

logger = logging.getLogger(__name__)

LIMITS = (9, 14, 60, 60, 16)
"""The widest that the columns become: protocol, event id, who -> what, route -> consumer, verdict."""
LONGEST = 200
"""Characters of a cell: paths and topics can be long."""
_COLOURS = {"failed": RED, "refused": YELLOW, "good": GREEN}


def log(arrival: Arrival) -> None:
    """Log ``arrival``, as a listener."""
    said = "%s %s -> %s: %s"
    logger.info(said, arrival.type, arrival.who, arrival.what, arrival.verdict, extra={"arrival": arrival})


class ArrivalLine:
    """Makes the line of an arrival, aligned with those before it."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._columns = Columns(LIMITS)

    def of(self, arrival: Arrival) -> str:
        """``http  lg6a7hbndv6p  127.0.0.1:51234 -> GET /  ^ -> shop.home  200     1.3 ms``."""
        *facts, verdict = self._columns.padded([shortened(one_line(cell), LONGEST) for cell in _cells(arrival)])
        shown = coloured(verdict, _colour(arrival)) if self._colours else verdict
        error = f"  {one_line(arrival.error)}" if arrival.error else ""
        return f"{'  '.join(facts)}  {shown}  {_milliseconds(arrival.seconds)}{error}"


def _cells(arrival: Arrival) -> list[str]:
    tried = f" (attempt {arrival.attempt})" if arrival.attempt > 1 else ""
    route = f"{arrival.route} -> {arrival.target}" if arrival.route else arrival.target
    return [arrival.type, arrival.id or "-", f"{arrival.who} -> {arrival.what}", route or "-", arrival.verdict + tried]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:7.1f} ms" if seconds < 0.1 else f"{seconds * 1000:7.0f} ms"


def _colour(arrival: Arrival) -> str:
    return _COLOURS[outcome(arrival.verdict, arrival.error)]
