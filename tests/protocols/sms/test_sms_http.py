"""The webhook behind our own HTTP server: the contract of every server, spoken by a provider."""

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from contract import LIMIT, Driver, ListenerContract, Outcome
from twilio.request_validator import RequestValidator

from protocols.asgi import SMSScope
from protocols.http.server import HTTPServer
from protocols.http.settings import HTTPSettings
from protocols.secret import Secret
from protocols.server import Server
from protocols.sms import SMSWebhook, TwilioSettings

TOKEN = "token-1"
FORM = {"MessageSid": "SM1", "From": "+447400123456", "To": "+15005550006", "Body": "Hello + wörld & co", "FromZip": ""}


def signed(url: str, form: dict[str, str] = FORM) -> dict[str, Any]:
    """As Twilio posts it, signed by its own library."""
    signature = RequestValidator(TOKEN).compute_signature(url, form)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    return {"content": urlencode(form), "headers": headers}


class SMSDriver(Driver):
    """No event when the peer leaves: a delivery is whole, and its disconnect is there from the start."""

    scope_type = "sms"
    scope = SMSScope
    garbage = (
        b"\x00" * 1000,
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: [\r\nContent-Length: 3\r\n\r\na=b",
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: \xff\r\nContent-Length: 3\r\n\r\n%ff",
        b"GET /?%ff=%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
    )

    def server(self, app: Any, bind: str = "127.0.0.1:0", state: dict[str, Any] | None = None) -> Server:
        hook = SMSWebhook(app, TwilioSettings(on="web", path="/", auth_token=Secret(TOKEN)), state=state)
        return HTTPServer(hook, HTTPSettings(bind=bind), state=state)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "sms":
            raise NotImplementedError
        assert (await receive())["text"] == FORM["Body"]
        await send({"type": "sms.send", "text": "thank you"})

    async def exchange(self, address: str) -> Outcome:
        url = f"http://{address}/hooks/twilio?tenant=1"
        try:
            async with httpx.AsyncClient(timeout=4 * LIMIT) as client:
                response = await client.post(url, **signed(url))
        except httpx.HTTPError:
            return "failed"
        self.heard = response.content
        if response.status_code == 200:
            assert b"<Body>thank you</Body>" in response.content
            assert response.headers["content-type"].startswith("text/xml")
            return "done"
        return "failed"


class TestSMSContract(ListenerContract):
    driver_class = SMSDriver


@pytest.mark.parametrize("wrong", ["token", "url"])
async def test_a_forged_text_is_refused(wrong: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "sms"
        raise NotImplementedError

    async with SMSDriver().server(app) as server, httpx.AsyncClient() as client:
        url = f"http://{server.address}/hooks/twilio"
        request = signed("https://example.com/" if wrong == "url" else url)
        if wrong == "token":
            request["headers"]["X-Twilio-Signature"] = "A" * 28
        response = await client.post(url, **request)
    assert (response.status_code, response.content) == (403, b"")
    assert "content-type" not in response.headers
