"""SMTP and LMTP keep the contract of every server; the peers are the standard library's clients."""

import asyncio
import smtplib
from typing import Any, ClassVar

from contract import LIMIT, Driver, ListenerContract, Outcome

from protocols.asgi import EmailScope
from protocols.mail.smtp.server import SMTPServer, SMTPSettings
from protocols.server import Server

MESSAGE = b"Subject: hello\r\nMessage-ID: <1@x.org>\r\n\r\nbody\r\n"


class SMTPDriver(Driver):
    """No event when the peer leaves: a handler that is cut half way would run twice, when the sender tries again."""

    scope_type = "email"
    scope = EmailScope
    garbage: ClassVar[list[bytes]] = [
        b"\x00" * 10_000,
        b"\xff\xfe\r\n\xff HELO\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"DATA\r\nRCPT TO:<a@x.org>\r\nMAIL FROM:<a@x.org>\r\nQUIT\r\n",
        b"EHLO \xff\r\nMAIL FROM:<\xff@x.org>\r\nMAIL FROM:<a@x.org\r\nVRFY \xff\r\nHELP \xff\r\nQUIT\r\n",
        b"EHLO " + b"x" * 1_000_000 + b"\r\nQUIT\r\n",
        b"EHLO x\r\nMAIL FROM:<> SIZE=99999999999999999999999\r\nMAIL FROM:<> =\r\nQUIT\r\n",
        b"NOOP\r\n" * 5000 + b"QUIT\r\n",
        b"x\r\n" * 5000,
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.org>\r\nDATA\r\nnever ends",
    ]

    protocol: ClassVar[Any] = "smtp"
    client: ClassVar[type[smtplib.SMTP]] = smtplib.SMTP

    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> Server:
        return SMTPServer(app, SMTPSettings(protocol=self.protocol, bind=bind), state=state)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "email":
            raise NotImplementedError
        while (await receive()).get("more_body"):
            pass
        await send({"type": "email.accept"})

    async def exchange(self, address: str) -> Outcome:
        return await asyncio.to_thread(self._send, *address.split(":"))

    def _send(self, host: str, port: str) -> Outcome:
        client = self.client(host, int(port), timeout=LIMIT)
        try:
            client.sendmail("a@x.org", ["b@x.org"], MESSAGE)
        except smtplib.SMTPResponseException as error:
            self.heard = str(error.smtp_error).encode()
            return "failed" if error.smtp_code < 500 else "refused"
        except OSError:
            return "failed"
        finally:
            client.close()
        return "done"


class LMTPDriver(SMTPDriver):
    protocol = "lmtp"
    client = smtplib.LMTP


class TestSMTPContract(ListenerContract):
    driver_class = SMTPDriver


class TestLMTPContract(ListenerContract):
    driver_class = LMTPDriver
