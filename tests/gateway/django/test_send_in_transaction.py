"""With `store: django`, what a view or a command sends is committed, or rolled back, with its transaction."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from servers.ports import free_port
from servers.project_store import ProjectSite, migrated_site
from servers.site import until

SEEDS = range(int(os.environ.get("FAULT_SEEDS", "1")))
URLS = """
import os

from django.core.mail import send_mail
from django.db import transaction
from django.http import HttpResponse
from django.urls import path

from keeping.models import Order


def order(request, what, fate):
    with transaction.atomic():
        Order.objects.create(what=what)
        send_mail(what, "thanks", None, ["ann@example.net"])
        if fate == "raise":
            raise LookupError(what)
        if fate == "killed":
            os.kill(os.getpid(), 9)
        if fate == "killed_after":
            transaction.get_connection().run_on_commit.insert(0, (set(), lambda: os.kill(os.getpid(), 9), False))
    return HttpResponse("done")


@transaction.non_atomic_requests
def outside(request, what):
    send_mail(what, "thanks", None, ["ann@example.net"])
    return HttpResponse("done")


def late(request, what):
    send_mail(what, "thanks", None, ["ann@example.net"])
    raise LookupError(what)


urlpatterns = [path("order/<what>/<fate>", order), path("outside/<what>", outside), path("late/<what>", late)]
"""
SENT = """
from django.core.mail import send_mail
from django.db import connection, connections, transaction
import gateway

def kept():
    "What another connection sees."
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT kind FROM gateway_outgoing")
        return sorted(kind for (kind,) in cursor.fetchall())

def everything():
    send_mail("hello", "text", None, ["ann@example.net"])
    gateway.publish("told", "text", qos=1)
    gateway.send_text("+447700900123", "text")
"""


class Taken:
    """aiosmtpd's handler."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.subjects.append(str(message_from_bytes(envelope.content)["subject"]))
        return "250 ok"


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, taken: Taken, request: pytest.FixtureRequest) -> Iterator[ProjectSite]:
    server = Controller(taken, hostname="127.0.0.1", port=free_port())
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        submission = f"smtp://127.0.0.1:{server.port}"
        yield stack.enter_context(migrated_site(request.param, tmp_path, urls=URLS, submission=submission))


def get(site: ProjectSite, path: str) -> int:
    """The status; 0 if the server died."""
    try:
        return httpx.get(f"http://127.0.0.1:{site.web}/{path}", timeout=20).status_code
    except httpx.HTTPError:
        return 0


def test_each_function_takes_part_in_the_transaction_of_another_process(site: ProjectSite) -> None:
    program = f"""{SENT}
try:
    with transaction.atomic():
        everything()
        assert kept() == [], "before the commit"
        raise LookupError
except LookupError:
    pass
print("rolled back", kept())
with transaction.atomic():
    gateway.publish("outer", "text", qos=1)
    try:
        with transaction.atomic():
            everything()
            raise LookupError
    except LookupError:
        pass
print("inner rolled back", kept())
with transaction.atomic():
    everything()
    with transaction.atomic():
        gateway.publish("inner", "text", qos=1)
print("committed", kept())
connection.set_autocommit(False)
gateway.publish("by hand", "text", qos=1)
connection.rollback()
print("by hand", len(kept()))
gateway.publish("by hand", "text", qos=1)
connection.commit()
connection.set_autocommit(True)
gateway.publish("alone", "text", qos=1)
print("alone", len(kept()))
"""
    assert site.python(program).splitlines() == [
        "rolled back []",
        "inner rolled back ['mqtt']",
        "committed ['email', 'mqtt', 'mqtt', 'mqtt', 'sms']",
        "by hand 5",
        "alone 7",
    ]


def test_a_mail_that_cannot_be_sent_leaves_the_transaction_as_it_was(site: ProjectSite) -> None:
    program = f"""{SENT}
from keeping.models import Order
with transaction.atomic():
    Order.objects.create(what="kept")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gateway_outgoing RENAME TO gateway_away")
    assert send_mail("hello", "text", None, ["ann@example.net"], fail_silently=True) == 0
    Order.objects.create(what="kept, too")
print(Order.objects.count())
"""
    assert site.python(program) == "2\n"


@pytest.mark.parametrize("requests", ["False", "True"])
def test_a_view_s_mail_arrives_after_the_commit_and_never_without_one(
    site: ProjectSite, taken: Taken, requests: str
) -> None:
    settings = site.folder / "keeping_settings.py"
    settings.write_text(f"{settings.read_text()}\nDATABASES['default']['ATOMIC_REQUESTS'] = {requests}\n")
    daemon = site.daemon()
    try:
        assert [get(site, "order/one/raise"), get(site, "order/two/commit")] == [500, 200]
        assert [get(site, "late/three"), get(site, "outside/four")] == [500, 200]
        sent = ["two", "four"] if requests == "True" else ["two", "three", "four"]
        until(lambda: len(taken.subjects) >= len(sent), lambda: f"{taken.subjects} {daemon.text}")
        assert sorted(taken.subjects) == sorted(sent)
    finally:
        daemon.close()


def test_a_process_that_is_killed_before_or_after_the_commit_sends_what_is_committed(
    site: ProjectSite, taken: Taken
) -> None:
    for what, fate in (("before", "killed"), ("after", "killed_after")):
        daemon = site.daemon()
        assert get(site, f"order/{what}/{fate}") == 0
        assert daemon.wait() == -signal.SIGKILL
        daemon.close()
    daemon = site.daemon()
    try:
        until(lambda: "after" in taken.subjects, lambda: f"{taken.subjects} {daemon.text}")
        assert get(site, "order/last/commit") == 200
        until(lambda: "last" in taken.subjects, lambda: daemon.text)
        assert taken.subjects == ["after", "last"]
    finally:
        daemon.close()


ORDERS = """
import itertools, sys
from django.core.mail import send_mail
from django.db import transaction
from keeping.models import Order

for number in itertools.count():
    with transaction.atomic():
        what = f"{sys.argv[-1]}-{number}"
        Order.objects.create(what=what)
        send_mail(what, "thanks", None, ["ann@example.net"])
        Order.objects.create(what=f"second row of {what}")
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_any_moment_leave_one_mail_for_each_order(site: ProjectSite, taken: Taken, seed: int) -> None:
    chance = random.Random(seed)
    daemon = site.daemon()
    try:
        for round_ in range(3):
            program = f"import django\ndjango.setup()\n{ORDERS}"
            process = subprocess.Popen(
                [sys.executable, "-c", program, f"r{round_}"], cwd=site.folder, env=site.environment
            )
            until(lambda name=f"r{round_}-0": name in taken.subjects, "its first mail has arrived")
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.0, 0.15))
            process.kill()
            assert process.wait() == -signal.SIGKILL
        counted = "from keeping.models import Order\n"
        counted += "print(*Order.objects.exclude(what__startswith='second').values_list('what', flat=True))"
        orders = site.python(counted).split()
        until(lambda: set(orders) <= set(taken.subjects), lambda: f"{set(orders) - set(taken.subjects)} {daemon.text}")
        assert sorted(taken.subjects) == sorted(orders), "each once, and none without its order"
    finally:
        daemon.close()
