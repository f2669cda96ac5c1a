"""Tests of gateway_handlers.py, without a server. Run python manage.py test."""

from django.test import TestCase
from gateway.testing import EmailCommunicator, WebsocketCommunicator

from gateway_handlers import Hello, Live


class HelloTest(TestCase):
    async def test_a_mail_is_answered_and_shown(self) -> None:
        async with WebsocketCommunicator(Live, "/live/") as page:
            await page.connect()
            mail = EmailCommunicator(Hello, subject="My order", text="Where is it?")
            self.assertEqual((await mail.get_verdict())["type"], "email.accept")
            self.assertEqual(await page.receive_from(), "My order")
        self.assertEqual([answer.to for answer in mail.outbox.mails], [["ann@example.net"]])
