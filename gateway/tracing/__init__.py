"""OpenTelemetry: a span for each message that is traced, from the socket to its answer, and for what it causes.

``settings`` is what gateway.yaml says, ``sampling`` decides what is traced, ``traced`` says of a scope type what its
spans are called and where it carries a trace (each scope type has its own in its folder of ``gateway.scopes``), and
``names`` has the names of attributes. ``runs`` makes the spans of what runs of applications receive, ``tracer`` those
of handlers, of stored messages and of what leaves. ``service`` starts and stops it all, and ``export`` sends the spans
to a collector. Only ``settings`` is imported where tracing is not configured.
"""
