"""Parameters of SQLite's statements. :mod:`gateway.store.rows` has what all engines share."""

import json
from collections.abc import Iterable


def listed(values: Iterable[object]) -> str:
    """The parameter for ``IN (SELECT value FROM json_each(?))``: one statement, however many there are."""
    return json.dumps(list(values))
