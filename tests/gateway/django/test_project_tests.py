"""`manage.py test` of a project with `store: django`: what its tests send and receive stays in the test."""

from pathlib import Path

import pytest
from servers.postgresql import database
from servers.project_store import ProjectSite, postgresql

TESTS = """
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import TestCase

import gateway
from gateway.django.models import Outgoing
from gateway.testing import InMemoryGateway
from keeping.models import Order


class Sending(TestCase):
    def test_what_is_sent_is_in_the_test_database(self):
        name = str(connection.settings_dict["NAME"])
        self.assertTrue(name.startswith("test_") or "memory" in name, name)
        gateway.publish("told", "text", qos=1)
        with self.assertRaises(LookupError), transaction.atomic():
            gateway.publish("told", "text", qos=1)
            raise LookupError
        self.assertEqual(Outgoing.objects.count(), 1)

    def test_what_is_sent_is_gone_in_the_next_test(self):
        self.assertEqual(Outgoing.objects.count(), 0)


def order():
    with transaction.atomic():
        Order.objects.create(what="sent")
        gateway.send_mail("ann@example.net", subject="thanks", text="thanks")


class AGateway(TestCase):
    async def test_a_gateway_of_a_test_keeps_its_messages_in_memory(self):
        async with InMemoryGateway("gateway.yaml") as here:
            mail = here.email("desk@example.org", sender="ann@example.net", subject="an order", text="x")
            assert (await mail.get_verdict())["type"] == "email.accept"
            await here.settle()
            self.assertEqual([each.what async for each in Order.objects.all()], ["an order"])
            await sync_to_async(order)()
            await here.settle()
            self.assertEqual([each.subject for each in here.outbox.mails], ["thanks"])
            self.assertEqual(await Outgoing.objects.acount(), 0)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_tests_of_a_project_leave_no_trace(tmp_path: Path, kind: str) -> None:
    with database() as place:
        site = ProjectSite(tmp_path, postgresql(place) if kind == "postgresql" else None)
        site.migrate()
        (site.folder / "keeping" / "tests.py").write_text(TESTS)
        assert "Ran 3 tests" in site.manage("test", "keeping", "--noinput")
        assert site.python("from gateway.django.models import Outgoing\nprint(Outgoing.objects.count())") == "0\n"
