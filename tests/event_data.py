"""What server-sent events say."""

import json
from typing import Any


def event_data(text: str) -> list[Any]:
    """Return the data of each event, which is JSON."""
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
