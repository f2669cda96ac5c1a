"""What arrives by WebSocket: connections, and messages on them."""

from typing import Any

from gateway.arrivals.watch import Here, began
from gateway.scopes.http.arrivals import PathWatch
from protocols.app_run import AppRun

_CONNECT = {"type": "websocket.connect"}
_DISCONNECT = {"type": "websocket.disconnect"}


class WebSocketWatch(PathWatch):
    """A connection is told of when it is answered, and when it is over. A message has no answer: it is ``taken``."""

    def __init__(self, here: Here, run: AppRun) -> None:
        super().__init__(here, run)
        self._accepted = run.state == "open"  # it may have begun before somebody listened
        self._answered = self._accepted
        self._code = 1000

    @classmethod
    def what(cls, scope: Any, event: Any) -> str:
        size = len(event.get("text") or event.get("bytes") or "")
        path: str = scope["path"]
        return f"{path} {size} {'characters' if event.get('text') else 'bytes'}" if size else path

    @classmethod
    def size(cls, scope: Any, event: Any) -> int | None:
        """Return None for a text that would have to be encoded for that."""
        text, data = event.get("text"), event.get("bytes")
        if data is not None:
            return len(data)
        return len(text) if text is not None and text.isascii() else None

    def received(self, event: Any) -> None:
        super().received(event)
        if event["type"] == "websocket.receive" and not self.carried:
            self.tell(event, "taken", since=began(), is_last=False)
        elif event["type"] == "websocket.disconnect":
            self._code = event.get("code") or 1005

    def sent(self, event: Any) -> None:
        kind = event["type"]
        if kind == "websocket.accept":
            self._accepted = True
            self._answer("accepted")
        elif kind == "websocket.http.response.start":
            self._answer(f"rejected, {event['status']}")
        elif kind == "websocket.close":
            self._code = event.get("code") or 1000
            self._answer("rejected, 403")

    def ended(self) -> None:
        error = self.run.error
        self._answer("client left" if self.run.gone else "rejected, 500", error)
        if self._accepted:
            self.tell(_DISCONNECT, f"closed, {self._code if error is None else 1011}", error=error)

    def _answer(self, verdict: str, error: BaseException | None = None) -> None:
        if not self._answered:
            self._answered = True
            self.tell(_CONNECT, verdict, error=error, is_last=not self._accepted)
