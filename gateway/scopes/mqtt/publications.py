"""What a running MQTT server takes from anybody, for the line of the banner that says what to try."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.routing.router import Route
from gateway.scopes.mqtt.patterns import Topic
from protocols.mqtt.access.acl import Rules


def publications(settings: Any, routes: Sequence[Route]) -> Iterator[str]:
    """A topic and a payload. None if the server knows users alone: their passwords are not in the file."""
    rules = Rules(settings.acl, "gateway-send", None) if settings.acl is not None else None
    topic = _topic(routes)
    if (settings.anonymous or not settings.knows_users) and (rules is None or rules.may_publish(topic)):
        yield f"{shlex.quote(topic)} 21.5"


def _topic(routes: Sequence[Route]) -> str:
    """A topic that the first route takes."""
    first = routes[0].pattern if routes else None
    if not isinstance(first, Topic) or first.filter == "#":
        return "sensors/1/temperature"
    return first.filter.replace("+", "1").replace("#", "1").removeprefix("$share/")
