"""Clients of every protocol. Each says its things one after the other, and each again until it is acknowledged, at
another host if one does not answer: as mail servers, providers and devices do."""

import imaplib
import itertools
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
import paho.mqtt.client as paho
from crashing import DATE, Sender
from qos2_device import QoS2Device
from servers.dovecot import PASSWORD, USER
from servers.texts import webhook
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from cluster.nodes import HTTP, MQTT, SMTP

Say = Callable[[str], bool]
"""Says it once; whether it was acknowledged."""
LIMIT = 4.0
"""Seconds after which a client asks elsewhere."""


class Timed(Sender):
    """``pause``: seconds between two things that it says. ``times``: when each was acknowledged."""

    def __init__(self, prefix: str, send: Say, pause: float) -> None:
        super().__init__(prefix, self._say)
        self._really, self._pause = send, pause
        self.times: list[float] = []
        self.begun = time.monotonic()

    def _say(self, what: str) -> bool:
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
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


class Turns:
    """The addresses of the hosts; the next one after each failure."""

    def __init__(self, addresses: Sequence[str], first: int) -> None:
        self._addresses, self._number = addresses, first

    def __call__(self, send: Say) -> bool:
        address = self._addresses[self._number % len(self._addresses)]
        taken = False
        try:
            taken = send(address)
        finally:
            if not taken:
                self._number += 1
        return taken


def text(turns: Turns) -> Say:
    client = httpx.Client(timeout=LIMIT)

    def send(what: str) -> bool:
        body, headers = webhook(what, what)
        return turns(
            lambda host: client.post(f"http://{host}:{HTTP}/hooks/sms", content=body, headers=headers).is_success
        )

    return send


def request(turns: Turns, action: str) -> Say:
    client = httpx.Client(timeout=LIMIT)
    return lambda what: turns(lambda host: client.post(f"http://{host}:{HTTP}/{action}/{what}").is_success)


def mail(turns: Turns, to: str) -> Say:
    def send(what: str) -> bool:
        letter = f"Subject: {what}\r\nMessage-ID: <{what}@cluster.example>\r\nDate: {DATE}\r\n\r\nhello\r\n"

        def at(host: str) -> bool:
            with smtplib.SMTP(host, SMTP, timeout=LIMIT) as client:
                client.sendmail("ann@cluster.example", [to], letter.encode())
            return True

        return turns(at)

    return send


class Letters:
    """Mails that are put into the mailbox. One that got no answer may be there; then it is there twice."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.copies: Counter[str] = Counter()

    def send(self, what: str) -> bool:
        self.copies[what] += 1
        letter = f"From: ann@example.net\r\nTo: {USER}\r\nSubject: {what}\r\n\r\nhello\r\n"
        client = imaplib.IMAP4(self._host, self._port, timeout=LIMIT)
        try:
            client.login(USER, PASSWORD)
            return client.append("INBOX", "", "", letter.encode())[0] == "OK"
        finally:
            with suppress(OSError, imaplib.IMAP4.error):
                client.logout()


class Device:
    """A client at QoS 1 with a session of its own, which paho connects again. What it has heard is in ``heard``."""

    def __init__(self, name: str, host: str, *, topic: str = "", subscribe: str = "") -> None:
        self.heard: list[str] = []
        self.copies: Counter[str] = Counter()
        self._topic, self._subscribe = topic, subscribe
        self._given_up = 0.0
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._connected
        self.subscribed = threading.Event()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _, __, message: self.heard.append(message.payload.decode())
        self.client.connect_async(host, MQTT, keepalive=3)
        self.client.loop_start()

    def _connected(self, *_: object) -> None:
        if self._subscribe:
            self.client.subscribe(self._subscribe, 1)

    def send(self, what: str) -> bool:
        """Publish it; paho sends it again on the next connection, until it is acknowledged. It is published anew after
        a while: paho may have forgotten what it got just when its connection ended."""
        if not self.copies[what] or time.monotonic() > self._given_up:
            self.copies[what] += 1
            self._given_up = time.monotonic() + 8.0
            self._message = self.client.publish(self._topic, what, 1)
        with suppress(RuntimeError, ValueError):  # not connected: paho keeps it
            self._message.wait_for_publish(1.0)
        return self._message.is_published()

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

    def _connect(self) -> ClientConnection:
        return connect(
            f"ws://{self.host}:{HTTP}/room", open_timeout=LIMIT, close_timeout=0.5, ping_interval=2, ping_timeout=3
        )


class Clients:
    """All of them, of a cluster. ``hosts``: the addresses of the gateways. ``rest``: seconds that each waits after an
    answer."""

    def __init__(
        self, hosts: Sequence[str], mailbox: tuple[str, int], broker: str, edge: str, balancer: str, rest: float
    ) -> None:
        self._hosts = hosts
        self._first = itertools.count()
        self.letters = Letters(*mailbox)
        self.devices = {
            "qos1": Device("qos1", broker, topic="plant/1/kept"),
            "direct": Device("direct", broker, topic="plant/1/direct"),
            "edge": Device("edge", edge, topic="plant/3/kept"),
            "atomic-qos1": Device("atomic-qos1", broker, topic="plant/1/atomic"),
            "own1": Device("own1", balancer, topic="device/1"),
        }
        self.at_qos2 = {
            "qos2": QoS2Device("qos2", broker, MQTT, "plant/2/kept"),
            "own2": QoS2Device("own2", balancer, MQTT, "device/2"),
        }
        self.told = Device("told", balancer, subscribe="told/#")
        self.listener = Device("listener", broker, subscribe="out/#")
        for device in (self.told, self.listener):
            device.subscribed.wait(30)  # what is published before goes nowhere
        sends: dict[str, Say] = {"imap": self.letters.send}
        sends |= {name: device.send for name, device in (self.devices | self.at_qos2).items()}
        sends |= {"http": self._request("order"), "say": self._request("say")}
        for number in range(2):
            sends |= {f"sms{number}": text(self._turns()), f"smtp{number}": mail(self._turns(), "kept@example.org")}
            sends |= {f"atomic{number}": mail(self._turns(), "atomic@example.org")}
            sends |= {f"inbox{number}": mail(self._turns(), "inbox@example.org")}
        self.senders = [Timed(prefix, send, rest) for prefix, send in sends.items()]
        self.pages = [Visitor(host) for host in hosts]
        for thread in (*self.pages, *self.senders):
            thread.start()

    def _turns(self) -> Turns:
        return Turns(self._hosts, next(self._first))

    def _request(self, action: str) -> Say:
        return request(self._turns(), action)

    def copies(self) -> Counter[str]:
        """How many messages there may be that say the same; 1 of those that are not here."""
        found = Counter(self.letters.copies)
        for device in self.devices.values():
            found += device.copies
        return found

    def acknowledged(self, *prefixes: str) -> set[str]:
        """What was acknowledged to the senders whose names begin so."""
        chosen = [sender for sender in self.senders if sender.prefix.startswith(prefixes)]
        return {what for sender in chosen for what in sender.acknowledged}

    def moments(self) -> list[tuple[str, float]]:
        """What was acknowledged, and when; at QoS 2 also when its PUBREC came."""
        received = [each for device in self.at_qos2.values() for each in device.received.copy().items()]
        return received + [
            each for sender in self.senders for each in zip(sender.acknowledged, sender.times, strict=False)
        ]

    def silent(self, since: float = 0.0) -> list[str]:
        """The senders that have had no answer since then."""
        return [sender.prefix for sender in self.senders if not sender.times or sender.times[-1] < since]

    def deaf(self, since: float) -> list[str]:
        """The pages that have not heard five things, one after the other, which were said since then."""
        said = next(sender for sender in self.senders if sender.prefix == "say")
        told = [what for what, moment in zip(said.acknowledged, said.times, strict=False) if moment > since][-6:-1]
        return [page.host for page in self.pages if len(told) < 5 or not page.heard.keys() >= set(told)]

    def finish(self, seconds: float) -> list[str]:
        """Let each have its last answer. Return the names of those that get none."""
        for sender in self.senders:
            sender.stopping.set()
        deadline = time.monotonic() + seconds
        for sender in self.senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        return [sender.prefix for sender in self.senders if sender.is_alive()]

    def close(self) -> None:
        for stopping in (*(page.stopping for page in self.pages), *(sender.stopping for sender in self.senders)):
            stopping.set()
        for device in (*self.devices.values(), self.listener, self.told):
            device.close()
        for at_qos2 in self.at_qos2.values():
            at_qos2.close()
