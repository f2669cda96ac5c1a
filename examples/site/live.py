"""What the page shows, over one WebSocket: everything at first, then each change as it happens."""

import json
from typing import Any

from helpdesk.models import Post, Reading, Text, Ticket

from gateway import WebsocketConsumer, layer_event

GROUP = "live"
"""The layer's group that hears of every change. Handlers of every protocol send to it."""
ROWS = 20
POINTS = 300


def update(kind: str | None, *rows: dict[str, Any] | None) -> dict[str, Any]:
    """The layer message that says: there are new (or changed) rows of one ``kind``."""
    return {"type": "live.update", "kind": kind, "rows": rows}


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """The newest rows of every kind, oldest first."""
    newest = {
        "ticket": Ticket.objects.prefetch_related("mails")[:ROWS],
        "text": Text.objects.all()[:ROWS],
        "post": Post.objects.all()[:ROWS],
        "reading": Reading.objects.all()[:POINTS],
    }
    return {kind: [row.shown() for row in rows][::-1] for kind, rows in newest.items()}


class LiveConsumer(WebsocketConsumer):
    """``/live/``: JSON texts ``{"kind": "snapshot" | "ticket" | "text" | "post" | "reading", "data": ...}``."""

    def connect(self, message: dict[str, Any]) -> None:
        # In this order nothing falls between: a change during the snapshot arrives twice, and has the same id.
        self.group_add(GROUP)
        self.accept()
        self.send(text=json.dumps({"kind": "snapshot", "data": snapshot()}))

    @layer_event("live.update")
    def on_update(self, event: dict[str, Any]) -> None:
        for row in event["rows"]:
            self.send(text=json.dumps({"kind": event["kind"], "data": row}))
