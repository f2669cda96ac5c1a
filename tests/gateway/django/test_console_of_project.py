"""The console of a gateway whose store is a Django project's database, in a real Chromium, and the admin beside it."""

import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servers.browser import browser
from servers.console import ConsolePages
from servers.ports import free_port
from servers.project_store import ProjectSite
from servers.site import until
from test_store_admin import Admin, listed, with_people

LETTERS = "return [...document.querySelectorAll('[name=chosen]')].map((e) => e.value)"
PRESS = "[...document.querySelectorAll('main button')].find((e) => e.innerText === 'Retry').click()"
YES = "document.querySelector('#confirm [value=yes]').click()"


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ProjectSite]:
    with with_people(request.param, tmp_path) as site:
        yield site


@pytest.fixture
def console(site: ProjectSite) -> Iterator[ConsolePages]:
    port, file = free_port(), site.folder / "gateway.yaml"
    file.write_text(f'{file.read_text()}console: {{bind: "127.0.0.1:{port}"}}\n')
    with ExitStack() as stack:
        daemon = site.daemon()
        stack.callback(daemon.close)
        (site.folder / "browser").mkdir()
        window = stack.enter_context(browser(site.folder / "browser"))
        yield ConsolePages(site.folder, port, daemon, window)


def test_a_dead_letter_is_tried_again_on_the_page_and_in_the_admin(site: ProjectSite, console: ConsolePages) -> None:
    with smtplib.SMTP("127.0.0.1", site.mail, timeout=20) as client:
        for number in range(2):
            client.sendmail("ann@example.net", ["desk@example.org"], f"Subject: broken {number}\r\n\r\n".encode())
    admin = Admin(site, "root")
    letters = until(lambda: found if len(found := listed(admin, "deadletter/")) == 2 else [], "both are dead letters")
    site.python("from keeping.models import Order; Order.objects.create(what='repaired')")

    assert sorted(console.open("/dead").run(LETTERS)) == sorted(letters)
    console.is_sound("Dead letters")
    console.open(f"/dead/show?id={letters[0]}").run(PRESS)
    console.window.run(YES)
    until(lambda: listed(admin, "deadletter/") == letters[1:], "the admin has the other one left")

    admin.act("gateway/deadletter/", "requeue", letters[1])
    until(lambda: console.open("/dead").run(LETTERS) == [], "the console has none left")
    admin.client.close()
    orders = site.python("from keeping.models import Order; print(*Order.objects.order_by('what').values_list('what'))")
    assert orders == "('broken 0',) ('broken 1',) ('repaired',)\n"
