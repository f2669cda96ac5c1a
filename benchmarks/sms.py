"""Row 11: a signed text is verified, routed and answered with TwiML, over 16 keep-alive connections.

The peer is what one writes by hand: an aiohttp handler with the provider's own validator and TwiML builder, and a chain
of prefixes.
"""

import argparse
import asyncio
import sys
import time
from typing import Any, cast
from urllib.parse import urlencode

import uvloop
from aiohttp import web
from twilio.request_validator import RequestValidator
from twilio.twiml.messaging_response import MessagingResponse

from benchmarks.side_by_side import Peer, client, compare, python

CONNECTIONS = 16
TOKEN = "0123456789abcdef" * 2
URL = "http://texts.test/hooks/twilio"
FORM = {
    "ToCountry": "GB", "ToState": "", "SmsMessageSid": "SM1", "NumMedia": "0", "ToCity": "", "FromZip": "",
    "SmsSid": "SM1", "FromState": "", "SmsStatus": "received", "FromCity": "", "Body": "Hello + \u20ac & \U0001f44b",
    "FromCountry": "GB", "To": "+447400999999", "ToZip": "", "NumSegments": "1", "MessageSid": "SM1",
    "AccountSid": "AC1", "From": "+447400123456", "ApiVersion": "2010-04-01",
}  # fmt: skip
BODY = urlencode(FORM).encode()
REQUEST = (
    b"POST /hooks/twilio HTTP/1.1\r\nHost: texts.test\r\n"
    b"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
    b"X-Twilio-Signature: " + RequestValidator(TOKEN).compute_signature(URL, FORM).encode() + b"\r\n"
    b"Content-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
)
REPLY = "Thank you for <your> text"


async def serve_ours(port: int) -> None:
    from gateway import AsyncSMSConsumer, SMSFromRouter, default, phone
    from protocols.http.server import HTTPServer, HTTPSettings
    from protocols.secret import Secret
    from protocols.sms import SMSWebhook, TwilioSettings

    class Texts(AsyncSMSConsumer):
        same_answers_per_hour = answers_per_hour = 1_000_000  # one sender texts all the time

        async def receive(self, text: str, media: Any) -> None:
            await self.reply(REPLY)

    router = SMSFromRouter([phone("+1", Texts), phone("+44", Texts), default(Texts)])
    hook = SMSWebhook(router, TwilioSettings(on="web", path="/hooks/twilio", auth_token=Secret(TOKEN)), state={})
    await HTTPServer(hook, HTTPSettings(bind=f"127.0.0.1:{port}"), state={}).start()
    await asyncio.Event().wait()


async def serve_by_hand(port: int) -> None:
    validator = RequestValidator(TOKEN)

    async def thank() -> str:
        response = MessagingResponse()
        response.message(REPLY)
        return str(response)

    async def hook(request: web.Request) -> web.Response:
        form = dict(await request.post())
        if not validator.validate(str(request.url), form, request.headers.get("X-Twilio-Signature", "")):
            return web.Response(status=403)
        for prefix in ("+1", "+44", ""):
            if str(form["From"]).startswith(prefix):
                return web.Response(text=await thank(), content_type="text/xml")
        raise AssertionError

    app = web.Application()
    app.router.add_post("/hooks/twilio", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


class Sender(asyncio.Protocol):
    """Posts the text again and again on one connection, each time the answer is complete."""

    def __init__(self) -> None:
        self.answered = 0
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write
        self._write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard.endswith(b"</Response>"):
            assert self._heard.startswith(b"HTTP/1.1 200"), self._heard
            assert b"<your>" not in self._heard
            self.answered += 1
            self._heard = b""
            self._write(REQUEST)


async def send(port: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Sender, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    started, before = time.perf_counter(), sum(sender.answered for _, sender in opened)
    await asyncio.sleep(seconds)
    print((sum(sender.answered for _, sender in opened) - before) / (time.perf_counter() - started))
    for transport, _ in opened:
        transport.abort()


def _command(role: str, port: int, *more: str) -> list[str]:
    return python("-m", "benchmarks.sms", role, str(port), *more)


PEERS = [
    Peer("ours", lambda port: _command("serve-ours", port)),
    Peer("aiohttp by hand", lambda port: _command("serve-by-hand", port)),
]


def load(port: int, seconds: float) -> float:
    return client(*_command("send", port, str(seconds))[1:])


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        compare(f"SMS webhook, signed and answered, {CONNECTIONS} connections", PEERS, load, unit="texts/s")
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["serve-ours", "serve-by-hand", "send"])
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float, nargs="?", default=1.0)
    given = parser.parse_args()
    match given.role:
        case "serve-ours":
            uvloop.run(serve_ours(given.port))
        case "serve-by-hand":
            uvloop.run(serve_by_hand(given.port))
        case "send":
            uvloop.run(send(given.port, given.seconds))


if __name__ == "__main__":
    main()
