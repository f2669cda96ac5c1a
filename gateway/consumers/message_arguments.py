"""Checks the arguments of what can be sent from a consumer and from any other code, so that both are told the same."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.consumers import arguments

_OF_JSON = ", such as str(value); for JSON call publish_json(topic, content)"
_GROUP = "the name of a group, which is text"
_EXAMPLE = '{"type": "reading.new", "value": 21.5}'


def publication(
    helper: str, topic: Any, payload: Any, qos: Any, retain: Any, properties: Any, otherwise: str = _OF_JSON
) -> bytes:
    """Check what is published by MQTT, and return its payload. ``otherwise`` says what to write for another value."""
    if type(topic) is not str:
        arguments.name(helper, "topic", topic, "text, such as sensors/1/temperature")
    if type(qos) is not int:
        arguments.integer(helper, "qos", qos, "0, 1 or 2")
    if not isinstance(retain, int):
        raise arguments.wrong(helper, "retain", retain, "True or False")
    if properties is not None:
        mqtt_properties(helper, properties)
    return arguments.content(helper, "payload", payload, otherwise)


def mqtt_properties(helper: str, given: Any) -> Mapping[str, Any]:
    """Return MQTT 5's properties."""
    return arguments.dictionary(helper, "properties", given, "a dict of MQTT 5 properties, or None")


def text_message(helper: str, text: Any, media: Any) -> list[Any]:
    """Check a text message, and return its media."""
    arguments.text(helper, "text", text)
    if isinstance(media, str | bytes) or not isinstance(media, Iterable):
        raise arguments.wrong(helper, "media", media, 'a list of URLs, such as ["https://example.org/a.png"]')
    return list(media)


def layer_message(helper: str, group: Any, message: Any) -> dict[str, Any]:
    """Check a message for a group, and return it."""
    if type(group) is not str:
        group_name(helper, "group", group)
    if type(message) is not dict:
        wanted = f"a dict with a type, such as {_EXAMPLE}"
        message = dict(arguments.dictionary(helper, "message", message, wanted))
    if type(message.get("type")) is not str:
        raise TypeError(f"{helper}: message has no text under 'type'; write one, as in {_EXAMPLE}")
    checked: dict[str, Any] = message
    return checked


def group_name(helper: str, argument: str, given: Any) -> str:
    """Return the name of a group."""
    return arguments.name(helper, argument, given, _GROUP)
