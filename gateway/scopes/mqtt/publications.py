"""What a running MQTT server takes, for the line of the banner that says what to try."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.routing.router import Route
from gateway.scopes.mqtt.patterns import Topic
from protocols.mqtt.access.acl import Rules


def publications(settings: Any, routes: Sequence[Route]) -> Iterator[str]:
    """A topic, a payload and, where one is wanted, a user name; its password is asked for."""
    nobody = [None] if settings.anonymous or not settings.knows_users else []
    for user in [*nobody, *(settings.users or ())]:
        rules = Rules(settings.acl, "gateway-send", user) if settings.acl is not None else None
        login = f" --username {shlex.quote(user)}" if user else ""
        for topic in (_topic(routes, level) for level in ("1", user) if level and _is_level(level)):
            if rules is None or rules.may_publish(topic):
                yield f"{shlex.quote(topic)} 21.5{login}"


def _is_level(name: str) -> bool:
    return not set(name) & set("/+#\0")


def _topic(routes: Sequence[Route], level: str) -> str:
    """A topic that the first route takes, with ``level`` for its wildcards."""
    first = routes[0].pattern if routes else None
    if not isinstance(first, Topic) or first.filter == "#":
        return f"sensors/{level}/temperature"
    return first.filter.replace("+", level).replace("#", level).removeprefix("$share/")
