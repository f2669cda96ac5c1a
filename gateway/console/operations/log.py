"""Operations on the log."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypedDict

from gateway.config.loggers import logger_fault
from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.control.server import BadRequest
from gateway.logs import setup


class LogState(TypedDict):
    """What the log writes."""

    level: str
    """The lowest level that is written."""
    levels: Mapping[str, str]
    """Levels of single loggers, in place of it."""
    lost: int
    """Records that could not be written."""


@operation("log", "GET", "/api/log")
async def log(here: Here) -> LogState:
    """Show what the log writes."""
    return _state()


@operation("log_level", "POST", "/api/log/level", joined=joined.one)
async def log_level(
    here: Here,
    *,
    level: Annotated[Literal["debug", "info", "warning", "error"], "The lowest level that is written."],
    logger: Annotated[str, "A logger, with all below it; without it, all that have no level of their own."] = "",
) -> LogState:
    """Change a level until the next reload or restart."""
    if fault := logger_fault(logger):
        raise BadRequest(f"logger: {fault}")
    setup.change_level(logger, level)
    return _state()


def _state() -> LogState:
    level, levels = setup.levels()
    return {"level": level, "levels": levels, "lost": setup.lost()}
