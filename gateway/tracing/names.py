"""The names of attributes and operations.

Those of messaging are OpenTelemetry's conventions of version 1.45, which are still in development. It has none for mail
and texts; ours begin with ``gateway.``. Those of HTTP, which are stable, are in its folder of ``gateway.scopes``. The
name of a span never has a topic, a path, an address or an id in it: backends count spans by name.
"""

# OpenTelemetry's.
ERROR_TYPE = "error.type"
MESSAGING_SYSTEM = "messaging.system"
OPERATION_NAME = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION_TEMPLATE = "messaging.destination.template"
BODY_SIZE = "messaging.message.body.size"
BATCH_COUNT = "messaging.batch.message_count"

# Ours.
SCOPE = "gateway.scope"
SERVER = "gateway.server"
ROUTE = "gateway.route"
EVENT_ID = "gateway.event.id"
VERDICT = "gateway.verdict"
ATTEMPT = "gateway.attempt"
LANE = "gateway.lane"
HANDLER = "code.function.name"

CREATE, PROCESS, RECEIVE, SEND = "create", "process", "receive", "send"
"""Operations: a handler sends something; a message is handled; it is stored, and handled later; something leaves."""
