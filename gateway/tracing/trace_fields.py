"""The two fields of W3C Trace Context, as a peer has written them.

OpenTelemetry has a parser, too. It logs a warning for each mistake, with what the peer wrote.
"""

import re

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"(?P<key>[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=(?P<value>[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_MOST_MEMBERS = 32


def parsed(parent: str, state: str = "") -> SpanContext | None:
    """Return the span that ``traceparent`` names. None: it is not valid. A ``tracestate`` that is not valid is left
    out, as W3C asks."""
    match = _PARENT.fullmatch(parent)
    if match is None:
        return None
    version, trace_id, span_id, flags, later = match.groups()
    if version == "ff" or (version == "00" and later):
        return None
    found = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=_state(state),
    )
    return found if found.is_valid else None


def _state(written: str) -> TraceState | None:
    members = [_MEMBER.fullmatch(member) for each in written.split(",") if (member := each.strip(" \t"))]
    pairs = {member["key"]: member["value"] for member in members if member is not None}
    return TraceState(list(pairs.items())) if 0 < len(members) == len(pairs) <= _MOST_MEMBERS else None
