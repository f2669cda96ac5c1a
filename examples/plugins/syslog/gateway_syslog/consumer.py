"""Consumers of the syslog scope: one instance for each message."""

from typing import Any, TypeVar

from gateway.consumers.base import Consumer
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call

R = TypeVar("R")


class SyslogMethods(Consumer[R]):
    """Write ``receive``. Returning accepts. Host, app name, facility and severity are in ``self.scope``."""

    received = ("syslog.receive", "syslog.disconnect")
    _hooks = {"receive": Call(("text",))}
    _required = ("receive", "syslog_receive")

    def syslog_receive(self, event: Any) -> Any:
        return self.receive(event["text"])

    def receive(self, text: str) -> Any:
        """One message."""

    def reject(self) -> R:
        """Drop the message."""
        return self.perform(self._emit({"type": "syslog.reject"}))

    def defer(self) -> R:
        """Ask for the message again later. It is tried again if the route has ``inbox: true``."""
        return self.perform(self._emit({"type": "syslog.defer"}))


class SyslogConsumer(SyslogMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncSyslogConsumer(SyslogMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
