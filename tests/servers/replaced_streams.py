"""More peers of a gateway whose processes take over from each other: WebSockets, a mailbox, a broker that it reads."""

from email.message import EmailMessage

from servers.dovecot import USER, Dovecot
from servers.mosquitto import Mosquitto
from servers.replaced_load import PATIENCE, Load, Say
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

RESTART = 1012


class WebSockets:
    """One that stays for as long as the gateway lets it, and one that connects anew for each message."""

    servers = ""

    def begin(self, load: Load) -> dict[str, Say]:
        self._load = load
        self._url = load.web.replace("http", "ws", 1)
        self._open: ClientConnection | None = None
        return {"websocket": self._on_one, "anew": self._anew}

    def _on_one(self, name: str) -> None:
        if self._open is None:
            self._open = connect(self._url, open_timeout=PATIENCE)
        try:
            self._echo(self._open, name)
        except ConnectionResetError:
            self._open = None
            raise

    def _anew(self, name: str) -> None:
        with connect(self._url, open_timeout=PATIENCE) as socket:
            self._echo(socket, name)

    def _echo(self, socket: ClientConnection, name: str) -> None:
        """Raises ConnectionResetError where the gateway has closed as its page says; then the message is said again."""
        try:
            socket.send(name)
            assert socket.recv(PATIENCE) == name
        except ConnectionClosed as error:
            self._load.sent_again.add(name)
            if error.rcvd is None or error.rcvd.code != RESTART:
                raise
            raise ConnectionResetError from error

    def end(self) -> None:
        """Everything was answered."""

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


class Mailbox:
    """Mails that others put into a mailbox of ``server``."""

    def __init__(self, server: Dovecot) -> None:
        self._server = server
        account = f"port: {server.port}, tls: false, username: {USER}, password: secret"
        self.servers = f"  imap: {{protocol: imap, host: 127.0.0.1, {account}}}"

    def begin(self, load: Load) -> dict[str, Say]:
        return {"imap": self._append}

    def _append(self, name: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "ann@example.org", USER, name
        mail["Message-ID"], mail["Date"] = f"<{name}@example.org>", "Mon, 04 May 2026 09:18:45 +0000"
        mail.set_content("Hello")
        self._server.append(mail.as_bytes())

    def end(self) -> None:
        """Each was handled."""

    def close(self) -> None:
        """The mailbox is the caller's."""


class Upstream:
    """What others publish at a broker that the gateway has subscribed to."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker
        how = "client_id: us, subscribe: [up], qos: 2, persistence: true"
        self.servers = f'  broker: {{protocol: mqtt-client, url: "{broker.url}", {how}}}'

    def begin(self, load: Load) -> dict[str, Say]:
        self._has_session(load)
        return {"broker": lambda name: self._broker.publish("up", name, "-q", "2")}

    def _has_session(self, load: Load) -> None:
        """What is published before it has subscribed does not come."""
        probes = 0
        while not any(line.startswith("probe") for line in load.handled()):
            self._broker.publish("up", f"probe-{probes}", "-q", "1")
            probes += 1

    def end(self) -> None:
        """Each was handled."""

    def close(self) -> None:
        """The broker is the caller's."""
