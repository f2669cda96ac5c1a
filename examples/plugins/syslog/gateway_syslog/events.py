"""What an application may send in a ``syslog`` scope. Syslog has no answer: the verdict is for the gateway alone."""

from typing import Any

from protocols.asgi import DESCRIPTIONS
from protocols.events import Event, retry_after

SENDS = {"open": {"syslog.accept": "decided", "syslog.reject": "decided", "syslog.defer": "decided"}, "decided": {}}


def _accept(event: Event) -> dict[str, Any]:
    return {"type": "syslog.accept"}


def _reject(event: Event) -> dict[str, Any]:
    return {"type": "syslog.reject"}


def _defer(event: Event) -> dict[str, Any]:
    wait = retry_after(event)
    return {"type": "syslog.defer"} if wait is None else {"type": "syslog.defer", "retry_after": wait}


CHECKS = {"syslog.accept": _accept, "syslog.reject": _reject, "syslog.defer": _defer}
DISCONNECT = {"type": "syslog.disconnect"}
DESCRIPTIONS["syslog"] = lambda scope: (
    f"syslog {scope['hostname'] or '-'} {scope['app_name'] or '-'} {scope['facility']}.{scope['severity']}"
)
