"""Tests of gateway_handlers.py, without a server: asgiref plays it. Run python manage.py test."""

from asgiref.testing import ApplicationCommunicator
from django.test import SimpleTestCase  # TransactionTestCase, where a handler uses the database

from gateway_handlers import Hello, Live

EMAIL = {
    "type": "email",
    "mail_from": "ann@example.net",
    "rcpt_to": ["hello@example.org"],
    "headers": [],
    "extensions": {},
}
WEBSOCKET = {"type": "websocket", "path": "/live/", "headers": [], "query_string": b"", "subprotocols": []}


class HelloTest(SimpleTestCase):
    async def test_a_mail_is_answered_and_shown(self) -> None:
        page = ApplicationCommunicator(Live.as_asgi(), WEBSOCKET)
        await page.send_input({"type": "websocket.connect"})
        await page.receive_output(timeout=5)

        sender = ApplicationCommunicator(Hello.as_asgi(), EMAIL)
        mail = b"From: ann@example.net\r\nTo: hello@example.org\r\nSubject: My order\r\n\r\nWhere is it?\r\n"
        await sender.send_input({"type": "email.receive", "body": mail, "more_body": False})

        self.assertEqual((await sender.receive_output(timeout=5))["rcpt_to"], ["ann@example.net"])
        self.assertEqual((await page.receive_output(timeout=5))["text"], "My order")
        await page.send_input({"type": "websocket.disconnect", "code": 1000})
        await page.wait(timeout=5)
