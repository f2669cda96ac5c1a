"""What the page shows, over one WebSocket: everything at first, then each change as it happens."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, Protocol

import hosts
from django.db.models import Prefetch
from helpdesk.models import Mail, Post, Reading, Text, Ticket, sensors

from gateway import WebsocketConsumer, layer_event
from protocols.asgi import WebSocketConnectEvent

GROUP = "live"
"""The group of the channel layer that gets every change. Handlers of every protocol send to it."""
ROWS = 20
"""Rows of each list. page.js has this number and the next two, too."""
SENSORS = 12
"""Sensors in the diagram."""
POINTS = 200
"""Readings of each sensor."""


class Row(Protocol):
    def shown(self) -> dict[str, Any]: ...


def update(kind: str | None, *rows: dict[str, Any] | None) -> dict[str, Any]:
    """Return the layer message that announces new or changed rows of one ``kind``."""
    return {"type": "live.update", "kind": kind, "rows": rows}


def oldest_first(newest: Iterable[Row]) -> list[dict[str, Any]]:
    return [row.shown() for row in newest][::-1]


def snapshot() -> dict[str, list[dict[str, Any]]]:
    """Return the newest rows of every kind, and the newest readings of every sensor."""
    mails = Prefetch("mails", Mail.objects.defer("whole"))
    readings = [Reading.objects.filter(sensor=name)[:POINTS] for name in islice(sensors(), SENSORS)]
    return {
        "ticket": oldest_first(Ticket.objects.prefetch_related(mails)[:ROWS]),
        "text": oldest_first(Text.objects.all()[:ROWS]),
        "post": oldest_first(Post.objects.all()[:ROWS]),
        "reading": [row for newest in readings for row in oldest_first(newest)],
    }


class LiveConsumer(WebsocketConsumer):
    """``/live/``: ``{"kind": "snapshot", "data": {"ticket": [...], ...}}``, then each change as ``{"kind": "ticket",
    "data": [...]}``."""

    def connect(self, message: WebSocketConnectEvent) -> None:
        if not hosts.welcome(self.scope):
            self.close()
            return
        # In this order no change is missed: one that happens during the snapshot arrives twice, with the same id.
        self.group_add(GROUP)
        self.accept()
        self.send(text=json.dumps({"kind": "snapshot", "data": snapshot()}))

    @layer_event("live.update")
    def on_update(self, event: dict[str, Any]) -> None:
        self.send(text=json.dumps({"kind": event["kind"], "data": event["rows"]}))
