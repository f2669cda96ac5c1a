"""A gateway with a server of every protocol, a mailbox and a broker, and clients that send any bytes.

No client library is used where a peer may be hostile: a library would refuse to send it.
"""

import base64
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from mqtt_bytes import connect, packet, string
from servers.dovecot import USER, Dovecot
from servers.mosquitto import Mosquitto
from servers.ports import free_port
from servers.site import PATIENCE, ROOT
from servers.texts import webhook

HANDLERS = """
import asyncio
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncWebsocketConsumer, EmailConsumer, SMSConsumer

class Page(AsyncHttpConsumer):
    async def handle(self, body):
        path = self.scope["path"]
        if "slow" in path:
            await asyncio.sleep(60)
        if "crash" in path:
            raise ValueError(f"no such page {path}")
        await self.respond(b"done", status=403 if "refuse" in path else 200)

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        if "refuse" in self.scope["path"]:
            await self.close()
        else:
            await self.accept()
    async def receive(self, text, bytes=None):
        if "crash" in text:
            raise ValueError(f"no such word {text}")
        await self.send(text="done")

class Devices(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if "slow" in topic:
            await asyncio.sleep(60)
        if "crash" in topic:
            raise ValueError(f"no such device {topic}")
        if "refuse" in topic:
            self.reject_message()

class Mail(EmailConsumer):
    def receive(self, message):
        if "crash" in self.scope["mail_from"] + str(message["Subject"]):
            raise ValueError(f"no such ticket {message['Subject']}")
        if "refuse" in self.scope["mail_from"] + str(message["Subject"]):
            self.reject("no")

class Texts(SMSConsumer):
    def receive(self, text, media):
        if "crash" in text:
            raise ValueError(f"no such order {text}")
        if "refuse" in text:
            self.reject()
"""
CONFIG = """
log: {log}
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}", access_log: {access}}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}", anonymous: true}}
  guarded: {{protocol: mqtt, bind: "127.0.0.1:{guarded}", users: {{ann: "{hash}"}}}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
  login: {{protocol: smtp, bind: "127.0.0.1:{login}", auth: optional, users: {{ann: "{hash}"}}}}
  local: {{protocol: lmtp, bind: "127.0.0.1:{local}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: dev-secret}}
  mailbox: {{protocol: imap, host: 127.0.0.1, port: {imap}, tls: false, username: "{user}", password: secret}}
  broker: {{protocol: mqtt-client, url: "{broker}", client_id: us, subscribe: ["#"]}}
{servers}routes:
  http: every_handlers.Page
  websocket: every_handlers.Chat
  mqtt: every_handlers.Devices
  email: every_handlers.Mail
  sms: every_handlers.Texts
{more}"""
ANN = "$2b$12$vPq0u1/BzIfyAL6YCUKJoOfV2rVk4CsYMmeXK.1/XpRFKC/yU33NC"
"""The hash of `right-password`."""


def frame(code: int, data: bytes) -> bytes:
    """A masked frame of WebSocket."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack("!H", len(data))
    return bytes([0x80 | code]) + length + b"\0\0\0\0" + data


def connect_packet(version: int, client_id: bytes, user: bytes | None, password: bytes | None) -> bytes:
    flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    properties = b"\0" if version == 5 else b""
    login = [string(each) for each in (user, password) if each is not None]
    return connect(version, flags, properties, string(client_id), *login, keepalive=60)


class EveryProtocol:
    """``access``: what `access_log` is. ``servers``, ``more``: more lines of gateway.yaml."""

    def __init__(
        self,
        folder: Path,
        mailbox: Dovecot,
        broker: Mosquitto,
        log: str,
        access: str = "true",
        servers: str = "",
        more: str = "",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._mailbox, self._broker = mailbox, broker
        self.ports = {name: free_port() for name in ("web", "devices", "guarded", "mail", "login", "local")}
        (folder / "every_handlers.py").write_text(HANDLERS)
        peers = {
            "imap": mailbox.port,
            "broker": broker.url,
            "user": USER,
            "hash": ANN,
            "servers": servers,
            "more": more,
        }
        (folder / "gateway.yaml").write_text(CONFIG.format(log=log, access=access, **self.ports, **peers))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stderr: int) -> None:
        """The page that it prints at the start is thrown away: it is no part of the log."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        command = [sys.executable, "-m", "gateway", "run"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=stderr
        )

    def stop(self) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()

    # Clients.

    def leave(self, name: str, *sent: bytes) -> None:
        """Send bytes, wait for an answer to all but the last, and leave."""
        with self._socket(name) as peer:
            for number, each in enumerate(sent):
                if number:
                    peer.recv(65536)
                peer.sendall(each)

    def _socket(self, name: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[name]), timeout=PATIENCE)

    def http(self, target: bytes, *fields: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
        """Return the answer, whole; what there is of it, if the server closes the connection."""
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close", *fields]
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        with self._socket("web") as peer, contextlib.suppress(OSError):
            peer.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            return b"".join(iter(lambda: peer.recv(65536), b""))
        return b""

    def websocket(self, target: bytes, *fields: bytes, said: bytes = b"", closes: bool = True) -> bytes:
        """Say something, and return what was answered. Unless it ``closes``, the peer leaves without a close frame."""
        key = base64.b64encode(b"0123456789abcdef")
        upgrade = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: x", *upgrade, b"Sec-WebSocket-Key: " + key, *fields]
        frames = (frame(1, said) if said else b"") + (frame(8, b"\x03\xe8") if closes else b"")
        with self._socket("web") as peer, contextlib.suppress(OSError):
            peer.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            head = peer.recv(65536)
            if head.startswith(b"HTTP/1.1 101"):
                peer.sendall(frames)
            return head + (b"".join(iter(lambda: peer.recv(65536), b"")) if closes else b"")
        return b""

    def mqtt(
        self,
        topic: bytes,
        payload: bytes = b"1",
        *,
        client_id: bytes = b"dev-1",
        version: int = 4,
        user: bytes | None = None,
        password: bytes | None = None,
        server: str = "devices",
    ) -> bytes:
        """Publish at QoS 1, and return what was answered to CONNECT and PUBLISH."""
        with self._socket(server) as peer:
            return published(peer, connect_packet(version, client_id, user, password), version, topic, payload)

    def broker(self, topic: bytes, payload: bytes = b"1") -> bytes:
        """Publish at the broker that the gateway is a client of."""
        with socket.create_connection(("127.0.0.1", self._broker.port), timeout=PATIENCE) as peer:
            return published(peer, connect_packet(4, b"other", None, None), 4, topic, payload)

    def smtp(self, *commands: bytes, data: bytes = b"", server: str = "mail") -> bytes:
        """Send each of ``commands``, then the message, and return all answers."""
        answers = b""
        with self._socket(server) as peer, contextlib.suppress(OSError), peer.makefile("rwb") as lines:
            answers += _reply(lines)
            for command in (*commands, *([b"DATA", data + b"\r\n."] if data else []), b"QUIT"):
                lines.write(command + b"\r\n")
                lines.flush()
                answers += _reply(lines)
        return answers

    def mail(self, sender: bytes, recipient: bytes, subject: bytes, helo: bytes = b"x", server: str = "mail") -> bytes:
        greeting = (b"LHLO " if server == "local" else b"EHLO ") + helo
        commands = (greeting, b"MAIL FROM:<" + sender + b">", b"RCPT TO:<" + recipient + b">")
        return self.smtp(*commands, data=b"Subject: " + subject + b"\r\n\r\nhello", server=server)

    def sms(self, sender: str, recipient: str, said: str, number: str, *fields: bytes) -> bytes:
        body, headers = webhook(said, number, sender=sender, to=recipient, secret=b"dev-secret")
        signed = [f"{name}: {value}".encode() for name, value in headers.items()]
        return self.http(b"/hooks/sms", *signed, *fields, method=b"POST", body=body)

    def mailbox(self, *messages: bytes) -> None:
        self._mailbox.append(*messages)


def publish_packet(version: int, topic: bytes, payload: bytes) -> bytes:
    """A message at QoS 1."""
    return packet(0x32, string(topic) + b"\0\1" + (b"\0" if version == 5 else b"") + payload)


def published(peer: socket.socket, hello: bytes, version: int, topic: bytes, payload: bytes) -> bytes:
    answers = b""
    publish = publish_packet(version, topic, payload)
    with contextlib.suppress(OSError):
        peer.sendall(hello)
        answers += peer.recv(65536)
        peer.sendall(publish)
        answers += peer.recv(65536)
        peer.sendall(packet(0xE0))
    return answers


def _reply(lines: BinaryIO) -> bytes:
    """Read one reply of SMTP, of any number of lines."""
    read = line = lines.readline()
    while line[3:4] == b"-":
        line = lines.readline()
        read += line
    return read
