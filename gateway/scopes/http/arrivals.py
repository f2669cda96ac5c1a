"""What arrives by HTTP: requests, each with its response."""

import asyncio
from typing import Any

from gateway.arrivals import Watch
from protocols.units import TCP, UNIX_PEERS

_REQUEST = {"type": "http.request"}
LEFT = "client left"
"""The outcome of a request that was not answered, because its client had left."""


class PathWatch(Watch):
    """What http and websocket share."""

    @classmethod
    def who(cls, scope: Any) -> str:
        """The client's address; ``unix`` if it came by a Unix socket."""
        host, port = scope.get("client") or ("", None)
        return UNIX_PEERS if port is None else str(TCP(host, port))

    @classmethod
    def user_agent(cls, scope: Any) -> str:
        return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")


class HTTPWatch(PathWatch):
    """Its outcome is there when the response is sent, although its application may go on."""

    _status = 0
    _told = False

    @classmethod
    def what(cls, scope: Any, event: Any) -> str:
        """The method and the path. Queries may have secrets."""
        return f"{scope['method']} {scope['path']}"

    def sent(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self._status = event["status"]
        elif event["type"] == "http.response.pathsend" or (
            event["type"] == "http.response.body" and not event.get("more_body")
        ):
            self._answered(str(self._status))

    def ended(self) -> None:
        if self.run.gone or self.run.final_result() == LEFT:  # it may have sent FIN, and not be lost yet
            self._answered(LEFT)
        elif self._status:
            self._answered(f"{self._status}, cut short")
        else:
            self._answered("503" if isinstance(self.run.error, asyncio.CancelledError) else "500")

    def _answered(self, verdict: str) -> None:
        if not self._told:
            self._told = True
            self.answered = getattr(self.run, "size", None)
            self.tell(_REQUEST, verdict, error=self.run.error)
