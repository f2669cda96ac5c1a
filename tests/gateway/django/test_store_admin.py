"""The store in Django's admin, on a real gateway: what waits, dead letters, outgoing items, and what people do."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from servers.daemon import Daemon
from servers.project_store import ProjectSite, migrated_site
from servers.site import until

URLS = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""
PEOPLE = """
from django.contrib.auth.models import Permission, User
User.objects.create_superuser("root", "", "root")
reader = User.objects.create_user("reader", "", "reader", is_staff=True)
reader.user_permissions.set(Permission.objects.filter(codename__in=["view_deadletter", "view_outgoing"]))
"""
SUBJECT = "broken <script>alert(1)</script>"
MANY = """
from django.db import connection, transaction
with transaction.atomic(), connection.cursor() as cursor:
    for number in range(100):
        ids = [f"many-{number}-{each}" for each in range(1000)]
        rows = [(each, "email", "desk", each, "a subject", 1.0, b"x" * 100, 0, 3, 1, 0.0) for each in ids]
        cursor.executemany("INSERT INTO gateway_messages (id, type, route, key, subject, received, content, checksum,"
            " state, attempts, due) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", rows)
"""


class Admin:
    """A person who is logged in."""

    def __init__(self, site: ProjectSite, name: str) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{site.web}/admin/", timeout=60, follow_redirects=True)
        self.client.get("login/")
        self._post("login/", username=name, password=name)

    def get(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def act(self, path: str, action: str, *ids: str, **more: str) -> str:
        return self._post(path, action=action, _selected_action=[*ids], **more).text

    def _post(self, path: str, **data: object) -> httpx.Response:
        return self.client.post(path, data={"csrfmiddlewaretoken": self.client.cookies["csrftoken"], **data})


@contextmanager
def with_people(kind: str, folder: Path) -> Iterator[ProjectSite]:
    """A project with the admin and its users."""
    with migrated_site(kind, folder, urls=URLS) as site:
        site.python(PEOPLE)
        yield site


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ProjectSite]:
    with with_people(request.param, tmp_path_factory.mktemp("admin")) as site:
        yield site


@pytest.fixture(scope="module")
def daemon(site: ProjectSite) -> Iterator[Daemon]:
    daemon = site.daemon()
    yield daemon
    daemon.close()


@pytest.fixture(scope="module")
def root(site: ProjectSite, daemon: Daemon) -> Iterator[Admin]:
    root = Admin(site, "root")
    yield root
    root.client.close()


def dead_letter(site: ProjectSite, root: Admin, subject: str = SUBJECT) -> str:
    """Make one; its id."""
    with smtplib.SMTP("127.0.0.1", site.mail, timeout=20) as client:
        client.sendmail("ann@example.net", ["desk@example.org"], f"Subject: {subject}\r\n\r\n<b>hello</b>".encode())
    return until(lambda: next(iter(listed(root, "deadletter/?q=")), ""), "the dead letter is listed")


def listed(admin: Admin, path: str) -> list[str]:
    return re.findall(r'name="_selected_action" value="([^"]+)"', admin.get(f"gateway/{path}"))


def test_a_dead_letter_is_shown_and_nothing_of_it_is_markup(site: ProjectSite, root: Admin) -> None:
    letter = dead_letter(site, root)
    assert "desk@example.org" in root.get("gateway/deadletter/")
    page = root.get(f"gateway/deadletter/{letter}/change/")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page
    assert "<script>alert" not in page
    assert "LookupError" in page
    assert "<textarea" not in page
    assert '<input type="text"' not in page
    assert listed(root, f"deadletter/?q={letter[:6]}") == [letter]
    assert listed(root, "deadletter/?q=nothing") == []
    assert listed(root, "deadletter/?type=email") == [letter]
    assert listed(root, "deadletter/?type=mqtt") == []
    assert listed(root, "waitingmessage/") == []


LOOK = """
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

settings.GATEWAY_CONFIG = "{file}"
client = Client()
client.force_login(User.objects.get(username="root"))
print("Dead letters" in client.get("/admin/").content.decode(), client.get("/admin/gateway/deadletter/").status_code)
"""
ACT = """
import logging
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

logging.basicConfig()
settings.GATEWAY_CONFIG = "/nowhere/gateway.yaml"
client = Client()
client.force_login(User.objects.get(username="root"))
asked = {{"action": "requeue", "_selected_action": ["{letter}"]}}
print(client.post("/admin/gateway/deadletter/", asked).status_code)
"""
HOSTILE = """
from django.db import connection
from gateway.store import codec
content = codec.encode({"args": ["half of a character: \\udc80"]}, [])
columns = "id, type, route, key, subject, received, content, checksum, state, attempts, due"
values = ["hostile", "task", "", "hostile", "</pre><script>", 1e18, content, 0, 0, 1, 1e18]
with connection.cursor() as cursor:
    cursor.execute(f"INSERT INTO gateway_messages ({columns}) VALUES ({', '.join(['%s'] * len(values))})", values)
"""


def test_what_cannot_be_a_time_or_a_character_is_shown(site: ProjectSite, root: Admin) -> None:
    site.python(HOSTILE)
    assert "never" in root.get("gateway/waitingmessage/")
    page = root.get("gateway/waitingmessage/hostile/change/")
    assert "half of a character: \\udc80" in page
    assert "&lt;/pre&gt;&lt;script&gt;" in page
    site.python("from django.db import connection\nconnection.cursor().execute('DELETE FROM gateway_messages')")


def test_a_person_who_may_only_look_changes_nothing(site: ProjectSite, root: Admin) -> None:
    letter = dead_letter(site, root)
    reader = Admin(site, "reader")
    assert letter in reader.get("gateway/deadletter/")
    assert "requeue" not in reader.get("gateway/deadletter/")
    for action in ("requeue", "delete_selected"):
        reader.act("gateway/deadletter/", action, letter, post="yes")
    assert reader.client.get(f"gateway/deadletter/{letter}/delete/").status_code == 403
    assert reader.client.get("gateway/waitingmessage/").status_code == 403
    assert letter in reader.get("gateway/deadletter/")
    reader.client.close()


def test_a_dead_letter_is_tried_again_at_once_and_the_log_says_who_did_it(site: ProjectSite, root: Admin) -> None:
    letter = dead_letter(site, root)
    site.python("from keeping.models import Order\nOrder.objects.create(what='repaired')")
    assert "waits again" in root.act("gateway/deadletter/", "requeue", letter)
    until(lambda: "done" in site.gateway("show", letter), lambda: site.gateway("show", letter))
    assert letter not in listed(root, "deadletter/")
    logged = "from django.contrib.admin.models import LogEntry\n"
    logged += "print(*LogEntry.objects.values_list('user__username', 'object_id', 'change_message'))"
    assert f"('root', '{letter}', 'requeued')" in site.python(logged)
    site.python("from keeping.models import Order\nOrder.objects.all().delete()")


def test_dead_letters_and_outgoing_items_are_dropped_after_a_question(site: ProjectSite, root: Admin) -> None:
    letter = dead_letter(site, root)
    asked = root.act("gateway/deadletter/", "delete_selected", letter)
    assert "Are you sure" in asked
    assert letter in listed(root, "deadletter/"), "not yet"
    root.act("gateway/deadletter/", "delete_selected", letter, post="yes")
    assert letter not in listed(root, "deadletter/")
    assert "dropped" in site.gateway("show", letter)
    site.python("import gateway\ngateway.send_text('+447700900123', '<i>hello</i>')")
    (item,) = until(lambda: listed(root, "outgoing/?state=waiting"), "the text waits: its provider is away")
    assert "&lt;i&gt;hello&lt;/i&gt;" in root.get(f"gateway/outgoing/{item}/change/")
    assert listed(root, "outgoing/?state=dead") == []
    until(lambda: "waits again" in root.act("gateway/outgoing/", "requeue", item), "it is not leaving just now")
    until(
        lambda: root.act("gateway/outgoing/", "delete_selected", item, post="yes") and not listed(root, "outgoing/"), ""
    )


def test_the_lists_are_not_shown_if_the_store_is_elsewhere(site: ProjectSite, root: Admin) -> None:
    assert "Dead letters" in root.get("")
    file = site.folder / "elsewhere.yaml"
    file.write_text((site.folder / "gateway.yaml").read_text().replace("store: django", "store: sqlite:other.db"))
    assert site.python(LOOK.format(file=file)).split() == ["False", "403"]
    file.unlink()
    assert site.python(LOOK.format(file=file)).split() == ["True", "200"], "nothing is known without the file"


def test_a_web_process_that_does_not_see_the_gateway_s_file_acts_without_an_error(
    site: ProjectSite, root: Admin
) -> None:
    letter = dead_letter(site, root)
    assert site.python(ACT.format(letter=letter)) == "302\n"
    until(
        lambda: "failed: LookupError" in site.gateway("show", letter).partition("tried again")[2], "it was tried again"
    )


def test_a_hundred_thousand_dead_letters_have_pages(site: ProjectSite, root: Admin) -> None:
    site.python(MANY)
    page = root.get("gateway/deadletter/")
    assert page.count('name="_selected_action"') == 100
    assert "10000 dead letters" in page
    assert listed(root, "deadletter/?p=50")[0].startswith("many-")
    assert listed(root, "deadletter/?q=many-99-999") == ["many-99-999"]
