"""The fields of a record under ``log: {format: json}``: the only list of them.

The JSON Schema and the table of ``docs/logs.md`` are made of it.
"""

from typing import Any, NamedTuple


class Field(NamedTuple):
    """One field. A record has it only if there is something to say."""

    type: str
    """As JSON Schema calls it."""
    words: str
    ecs: str = ""
    """What the Elastic Common Schema calls it."""
    otel: str = ""
    """What OpenTelemetry's log data model or its semantic conventions call it."""
    most: int = 1024
    """Characters of a string. The middle of a longer one is left out: peers choose topics, addresses and names."""


FIELDS: dict[str, Field] = {
    "time": Field("string", "when it was logged: RFC 3339, UTC, milliseconds", "@timestamp", "Timestamp"),
    "level": Field("string", "debug, info, warning, error or critical", "log.level", "SeverityText"),
    "logger": Field("string", "the name of the logger", "log.logger", "InstrumentationScope"),
    "message": Field("string", "what happened, as in the text of the log", "message", "Body", 8192),
    "scope": Field("string", "the scope type: http, websocket, mqtt, email, sms, task"),
    "server": Field("string", "the name of its server in gateway.yaml"),
    "event_type": Field("string", "the type of the event that brought it", "event.action", "EventName"),
    "event_id": Field("string", "the id of the message, by which gateway show finds it", "event.id"),
    "peer": Field("string", "who sent it: an address, a number, a client identifier", "client.address"),
    "address": Field("string", "the address of the other side, or unix", "client.ip", "client.address"),
    "what": Field("string", "to whom, or for what: GET /orders/, a recipient, a topic"),
    "route": Field("string", "the pattern of the route that took it"),
    "target": Field("string", "the application of that route"),
    "verdict": Field("string", "what became of it: 200, accepted, stored, rejected, 550", "event.outcome"),
    "attempt": Field("integer", "the number of the attempt at a stored message"),
    "duration": Field("number", "seconds until its verdict", "event.duration"),
    "bytes": Field("integer", "bytes of the message, or of the body of an HTTP response"),
    "user_agent": Field("string", "the client's program, as it calls itself", "user_agent.original"),
    "error": Field("string", "the class of an error and its message, on one line", "error.message"),
    "traceback": Field("string", "all frames of it", "error.stack_trace", "exception.stacktrace", 65536),
    "flood": Field("string", "how many records of its kind were left out"),
    "trace_id": Field("string", "the trace that it belongs to, with tracing", "trace.id", "TraceId"),
    "span_id": Field("string", "the span that it belongs to, with tracing", "span.id", "SpanId"),
}
ALWAYS = ("time", "level", "logger", "message")
"""Fields that every record has."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A record of the log of asgi-gateway",
        "description": "One line under `log: {format: json}`.",
        "type": "object",
        "properties": {
            name: {"type": field.type, **_limit(field), "description": field.words} for name, field in FIELDS.items()
        },
        "required": [*ALWAYS],
        "additionalProperties": False,
    }


def _limit(field: Field) -> dict[str, int]:
    return {"maxLength": field.most} if field.type == "string" else {"minimum": 0}


def table() -> str:
    """Return the fields as a table in Markdown."""
    lines = ["| field | type | | ECS | OpenTelemetry |", "|---|---|---|---|---|"]
    for name, field in FIELDS.items():
        others = (f"`{each}`" if each else "" for each in (field.ecs, field.otel))
        lines.append(f"| `{name}` | {field.type} | {field.words} | {' | '.join(others)} |")
    return "\n".join(lines)
