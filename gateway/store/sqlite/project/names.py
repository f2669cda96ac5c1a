"""The names of the tables in a project's database: those of a gateway's own file, behind ``gateway_``."""

import re
from functools import lru_cache

TABLES = ("messages", "claims", "outgoing", "kept", "spaces", "resting", "notes", "clock")
_NAME = re.compile(rf"\b(?=(?:{'|'.join(TABLES)})(?:_|\b))")  # an index begins with the name of its table


@lru_cache(4096)  # all statements of this engine, each with any number of rows
def in_project(sql: str) -> str:
    """Return ``sql``, a statement for a gateway's own file, for a project's."""
    return _NAME.sub("gateway_", sql)
