"""The route that answers the scope in this context."""

from contextvars import ContextVar

current_route: ContextVar[str] = ContextVar("current_route", default="")
"""The label of the route that answers the scope that runs here. Log records carry it."""
