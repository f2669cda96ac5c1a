"""Tests of the site: ``python examples/site/manage.py test examples/site``. The whole gateway runs in memory."""

from pathlib import Path
from typing import Any

from django.test import TestCase

from gateway.testing import InMemoryGateway, WebsocketCommunicator
from helpdesk.models import Mail, Reading, Text, Ticket

GATEWAY = Path(__file__).resolve().parents[3] / "gateway.yaml.example"
SUPPORT = "help@support.example.org"
ORIGIN = {"Host": "127.0.0.1:8000", "Origin": "http://127.0.0.1:8000"}


class Site(TestCase):
    async def test_a_mail_opens_a_ticket_and_an_answer_joins_it(self) -> None:
        async with InMemoryGateway(GATEWAY) as gateway, gateway.websocket("/live/", ORIGIN) as page:
            self.assertEqual(await page.connect(), (True, None))
            mail = gateway.email(SUPPORT, subject="Printer", text="It burns.", message_id="<1@example.net>")
            self.assertEqual((await mail.get_verdict())["type"], "email.accept")
            await gateway.settle()
            [answer] = gateway.outbox.mails
            self.assertEqual(answer.to, ["ann@example.net"])
            self.assertEqual((await self.next(page, "ticket"))["subject"], "Printer")
            again = gateway.email(answer.message.reply_to, subject="Re: Printer", text="It still burns.")
            await again.get_verdict()
        ticket = await Ticket.objects.aget()
        texts = [each.text async for each in Mail.objects.filter(ticket=ticket).exclude(kind="ours").order_by("id")]
        self.assertEqual(texts, ["It burns.", "It still burns."])

    async def next(self, page: WebsocketCommunicator, kind: str) -> Any:
        """Return the row of the next change of this kind, as the page gets it."""
        while (update := await page.receive_json_from())["kind"] != kind:
            pass
        return update["data"][0]

    async def test_temperatures_are_stored_and_others_ignored(self) -> None:
        async with InMemoryGateway(GATEWAY) as gateway, gateway.mqtt("k1") as device:
            self.assertEqual(await device.connect(), (True, 0))
            for payload in ('{"celsius": 21.5}', "22", "warm"):
                self.assertEqual(await device.publish("sensors/kitchen/temperature", payload), 0)
        readings = Reading.objects.filter(sensor="kitchen").order_by("id")
        self.assertEqual([each.celsius async for each in readings], [21.5, 22.0])

    async def test_texts_are_answered_by_the_country_of_their_sender(self) -> None:
        async with InMemoryGateway(GATEWAY) as gateway:
            for number, town in (("+442079460123", "London"), ("+12125550123", "Denver")):
                text = gateway.sms("Hello", number)
                await text.get_verdict()
                self.assertIn(town, text.replies[-1].text)
        self.assertEqual(await Text.objects.acount(), 2)
