"""Which route answers the scope that runs here."""

from contextvars import ContextVar

current_route: ContextVar[str] = ContextVar("current_route", default="")
"""The label of the route that answers the scope that runs here. Log records carry it."""
