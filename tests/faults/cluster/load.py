"""Clients of every protocol. Each says its things one after the other, and each again until it is acknowledged, at
another host if one does not answer: as mail servers, providers and devices do."""

import imaplib
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
import paho.mqtt.client as paho
from cluster.nodes import HTTP, MQTT, SMTP
from crashing import DATE, Sender
from servers.dovecot import PASSWORD, USER
from servers.texts import webhook
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

LIMIT = 4.0
"""Seconds after which a client asks elsewhere."""


class Timed(Sender):
    """``pause``: seconds between two things that it says. ``times``: when each was acknowledged."""

    def __init__(self, prefix: str, send: Callable[[str], bool], pause: float = 0.03) -> None:
        super().__init__(prefix, self._say)
        self._really, self._pause = send, pause
        self.times: list[float] = []
        self.tries: Counter[str] = Counter()
        self.begun = time.monotonic()

    def _say(self, what: str) -> bool:
        self.tries[what] += 1
        try:
            taken = self._really(what)
        except imaplib.IMAP4.error:
            return False
        if taken:
            self.times.append(time.monotonic())
            self.stopping.wait(self._pause)
        return taken

    def longest_gap(self) -> float:
        """The longest time without an acknowledgement, in seconds."""
        times = [self.begun, *self.times]
        return max((later - earlier for earlier, later in zip(times, times[1:], strict=False)), default=0.0)


class Turns:
    """The addresses of the hosts; the next one after each failure."""

    def __init__(self, addresses: Sequence[str], first: int) -> None:
        self._addresses, self._number = addresses, first

    def __call__(self, send: Callable[[str], bool]) -> bool:
        address = self._addresses[self._number % len(self._addresses)]
        taken = False
        try:
            taken = send(address)
        finally:
            if not taken:
                self._number += 1
        return taken


def text(turns: Turns) -> Callable[[str], bool]:
    client = httpx.Client(timeout=LIMIT)

    def send(what: str) -> bool:
        body, headers = webhook(what, what)
        return turns(
            lambda host: client.post(f"http://{host}:{HTTP}/hooks/sms", content=body, headers=headers).is_success
        )

    return send


def request(turns: Turns, action: str) -> Callable[[str], bool]:
    client = httpx.Client(timeout=LIMIT)
    return lambda what: turns(lambda host: client.post(f"http://{host}:{HTTP}/{action}/{what}").is_success)


def mail(turns: Turns, to: str) -> Callable[[str], bool]:
    def send(what: str) -> bool:
        letter = f"Subject: {what}\r\nMessage-ID: <{what}@cluster.example>\r\nDate: {DATE}\r\n\r\nhello\r\n"

        def at(host: str) -> bool:
            with smtplib.SMTP(host, SMTP, timeout=LIMIT) as client:
                client.sendmail("ann@cluster.example", [to], letter.encode())
            return True

        return turns(at)

    return send


def append(host: str, port: int) -> Callable[[str], bool]:
    """Put mails into the mailbox. One that got no answer may be there, and then it is there twice."""

    def send(what: str) -> bool:
        letter = f"From: ann@example.net\r\nTo: {USER}\r\nSubject: {what}\r\n\r\nhello\r\n"
        client = imaplib.IMAP4(host, port, timeout=LIMIT)
        try:
            client.login(USER, PASSWORD)
            return client.append("INBOX", "", "", letter.encode())[0] == "OK"
        finally:
            with suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    return send


class Device:
    """A client of MQTT with a session of its own, which paho connects again. What it has heard is in ``heard``."""

    def __init__(self, name: str, host: str, *, topic: str = "", qos: int = 1, subscribe: str = "") -> None:
        self.heard: list[str] = []
        self._topic, self._qos, self._subscribe = topic, qos, subscribe
        self._under_way: tuple[str, paho.MQTTMessageInfo] | None = None
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._connected
        self.client.on_message = lambda _, __, message: self.heard.append(message.payload.decode())
        self.client.connect_async(host, MQTT, keepalive=3)
        self.client.loop_start()

    def _connected(self, *_: object) -> None:
        if self._subscribe:
            self.client.subscribe(self._subscribe, 1)

    def send(self, what: str) -> bool:
        """Publish it once; paho sends it again on the next connection, until it is acknowledged."""
        if self._under_way is None or self._under_way[0] != what:
            self._under_way = what, self.client.publish(self._topic, what, self._qos)
        with suppress(RuntimeError, ValueError):  # not connected: paho keeps it
            self._under_way[1].wait_for_publish(1.0)
        return self._under_way[1].is_published()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Visitor(threading.Thread):
    """A page that is open at one host, and is opened again when it is lost."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self.host = host
        self.heard: dict[str, float] = {}
        self.opened: list[float] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.2):
            with suppress(OSError, WebSocketException, TimeoutError), self._connect() as socket:
                self.opened.append(time.monotonic())
                while not self.stopping.is_set():
                    with suppress(TimeoutError):
                        self.heard.setdefault(str(socket.recv(0.5)), time.monotonic())

    def _connect(self):  # type: ignore[no-untyped-def]  # websockets' own type
        return connect(
            f"ws://{self.host}:{HTTP}/room", open_timeout=LIMIT, close_timeout=0.5, ping_interval=2, ping_timeout=3
        )
