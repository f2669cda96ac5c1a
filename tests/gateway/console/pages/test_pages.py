"""The pages on the gateway itself, in a real Chromium."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.publish import single
from servers.console import ConsolePages, console_pages
from servers.dovecot import USER, dovecot
from servers.ports import free_port
from servers.site import until

from gateway.console.pages import overview
from protocols.access.users import hash_password

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, EmailConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/broken":
            raise KeyError("order")
        await self.respond(b"ok")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Desk(EmailConsumer):
    def receive(self, message):
        pass
"""
PAGES = ["/", "/mailboxes", "/certificates", "/configuration", "/log", "/reload"]


@pytest.fixture(scope="module")
def web() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def mqtt() -> int:
    return free_port()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, web: str, mqtt: int) -> Iterator[ConsolePages]:
    config = f"""
servers:
  web: {{protocol: http, bind: "{web.removeprefix("http://")}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true}}
routes:
  http: handlers.Web
  mqtt:
    - {{topic: "sensors/#", app: handlers.Device}}
store: sqlite:var/gateway.db
"""
    with console_pages(tmp_path_factory.mktemp("pages"), config, HANDLERS) as pages:
        yield pages


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_sound(console: ConsolePages, path: str) -> None:
    window = console.open(path)
    title = window.run("return document.querySelector('h1').innerText")
    assert window.run("return document.querySelector('nav [aria-current=page]').innerText") == title
    console.is_sound(title)


def test_a_route_shows_how_often_it_is_used_and_how_often_it_fails(console: ConsolePages, web: str, mqtt: int) -> None:
    window = console.open("/")
    window.run("window.neverReloaded = true; document.querySelector('nav a').focus()")
    for path in ("/", "/", "/", "/broken"):
        httpx.get(web + path)
    single("sensors/attic/temperature", "21.5", qos=1, port=mqtt)
    shown = "return document.querySelector('#routes tbody').innerText"
    until(lambda: "25 %" in window.run(shown), lambda: str(window.run(shown)), 40.0)
    assert "handlers.Web" in window.run(shown)
    label = "return document.querySelector('#routes .sparkline')?.getAttribute('aria-label')"
    until(lambda: window.run(label), "there is a line", 40.0)
    assert window.run("return [window.neverReloaded, document.activeElement.innerText]") == [True, "Overview"]


def test_a_gateway_that_hangs_is_asked_once_and_the_page_says_so(console: ConsolePages) -> None:
    window = console.open("/")
    asked = """
        window.asked = 0;
        const ask = window.fetch;
        window.fetch = (...given) => { window.asked += 1; return ask(...given); };
    """
    window.run(asked)
    console.daemon.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: window.run("return !document.getElementById('notice').hidden"), "it says so", 30.0)
        assert "these figures are old" in window.run("return document.getElementById('notice').innerText")
        assert window.run("return window.asked") <= 2
    finally:
        console.daemon.process.send_signal(signal.SIGCONT)
    until(lambda: window.run("return document.getElementById('notice').hidden"), "it answers again", 30.0)


@pytest.mark.parametrize("path", PAGES)
async def test_no_form_that_sends_by_script_puts_fields_into_an_address_without_it(site: Any, path: str) -> None:
    async with site(console=f"users: {{ann: '{hash_password(b'right')}'}}") as here:
        forms = re.findall(r"<form[^>]*data-call[^>]*>", (await here.get("/login")).text)
        await here.post("/api/login", {"username": "ann", "password": "right"})
        forms += re.findall(r"<form[^>]*data-call[^>]*>", (await here.get(path)).text)
        assert len(forms) >= 2
        assert all('method="post"' in form for form in forms)


def test_every_control_is_reached_with_the_keyboard(console: ConsolePages) -> None:
    window = console.open("/reload")
    wanted = window.run("return document.querySelectorAll('a[href], button, input, pre[tabindex]').length")
    seen = set()
    for _ in range(wanted + 2):
        console.press("Tab")
        seen.add(
            window.run(
                "const e = document.activeElement; return e.outerHTML + [...document.querySelectorAll('*')].indexOf(e)"
            )
        )
    inside_dialog = 2
    assert len([each for each in seen if not each.startswith("<body")]) >= wanted - inside_dialog


def test_the_file_is_checked_from_the_page_and_a_mistake_has_its_place(console: ConsolePages) -> None:
    window, file = console.open("/reload"), console.folder / "gateway.yaml"
    good = file.read_text()
    try:
        file.write_text(good.replace("handlers.Web", "handlers.Absent"))
        window.run("document.querySelector('[data-call=\"POST /api/reload\"] button').click()")
        window.shows("#reloaded", "gateway.yaml:6:")
        window.shows("#reloaded", "Still running generation")
        assert not window.errors()
    finally:
        file.write_text(good)


def test_the_file_is_read_again_from_the_page_and_older_connections_reconnect(console: ConsolePages, mqtt: int) -> None:
    reasons: list[int] = []
    device = Client(CallbackAPIVersion.VERSION2, "device", protocol=MQTTv5)
    device.on_disconnect = lambda *told: reasons.append(told[3].value)
    device.connect("127.0.0.1", mqtt)
    device.loop_start()
    file = console.folder / "gateway.yaml"
    good = file.read_text()
    try:
        until(device.is_connected, "the device is connected")
        window = console.open("/reload")
        press = (
            "document.querySelector('[name=check]').checked = false; document.querySelector('main form button').click()"
        )
        file.write_text(good + "threads: 5\n")
        window.run(press)
        window.shows("#reloaded", "reloaded")
        window.shows("#reloaded", "threads")
        console.open("/")
        window.shows("#state", "Generation 1 was replaced")
        console.is_sound("Overview")
        console.open("/reload")
        window.run("document.querySelector('[name=reconnect]').checked = true;" + press)
        window.shows("#notice", "1 of 1 connections")
        until(lambda: reasons == [0x98], lambda: f"it is told, not {reasons}")
    finally:
        file.write_text(good)
        device.disconnect()
        device.loop_stop()


def test_a_level_of_the_log_is_changed_from_the_page(console: ConsolePages) -> None:
    window = console.open("/log")
    window.run("document.getElementById('logger').value = 'gateway.console.audit'")
    window.run("document.getElementById('level').value = 'debug'; document.querySelector('main button').click()")
    window.shows("#notice", "The level is changed.")
    window.shows("#levels", "gateway.console.audit")
    window.run("document.getElementById('logger').value = 'gateway..x'")
    window.run("document.querySelector('main button').click()")
    window.shows("#notice", "logger")
    assert window.run("return document.getElementById('notice').className") == "notice bad"


def test_a_mailbox_shows_when_it_was_checked_and_what_waits_in_it(tmp_path: Path) -> None:
    with dovecot() as mailbox:
        config = f"""
servers:
  support: {{protocol: imap, host: 127.0.0.1, port: {mailbox.port}, tls: false, username: {USER}, password: secret}}
routes: {{email: {{app: handlers.Desk, default: true}}}}
"""
        mailbox.append(b"Subject: <b>Help</b>\r\n\r\nHello\r\n")
        with console_pages(tmp_path, config, HANDLERS) as console:
            console.open("/mailboxes")
            console.window.shows("#mailboxes", "INBOX")
            until(lambda: (console.open("/mailboxes"), "ready" in shown(console))[1], lambda: shown(console))
            assert " UTC" in shown(console)
            console.is_sound("Mailboxes")


def shown(console: ConsolePages) -> str:
    found: str = console.window.run("return document.getElementById('mailboxes').innerText")
    return found


def test_a_page_needs_a_login_where_there_are_users(tmp_path: Path) -> None:
    users = f", users: {{ann: '{hash_password(b'right')}'}}"
    config = f'servers: {{web: {{protocol: http, bind: "127.0.0.1:{free_port()}"}}}}\nroutes: {{http: handlers.Web}}'
    with console_pages(tmp_path, config, HANDLERS, users) as console:
        window = console.open("/certificates?x=1")
        for given, then in (("wrong", "the user or the password is wrong"), ("right", "Certificates")):
            window.run("document.getElementById('username').value = 'ann'")
            window.run("document.getElementById('password').value = arguments[0]", given)
            window.run("document.getElementById('password').focus()")
            console.press("Enter")
            window.shows("main", then)
        assert window.run("return location.pathname + location.search") == "/certificates?x=1"
        window.run("document.querySelector('header button').click()")
        window.shows("h1", "Log in")
        console.is_sound("Log in")


def test_the_live_page_asks_for_a_login_that_has_ended(tmp_path: Path) -> None:
    users = f", users: {{ann: '{hash_password(b'right')}'}}"
    port = free_port()
    config = f'servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}\nroutes: {{http: handlers.Web}}'
    with console_pages(tmp_path, config, HANDLERS, users) as console:
        window = console.open("/login?next=/live")
        window.run("username.value = 'ann'; password.value = 'right'; document.querySelector('main button').click()")
        until(lambda: window.run("return document.getElementById('pause')?.hidden === false"), "its script runs")
        out = """
            const headers = { "Content-Type": "application/json" };
            return fetch("/api/logout", { method: "POST", headers, body: "{}" }).then((answer) => answer.status);
        """
        assert window.run(out) == 200
        httpx.get(f"http://127.0.0.1:{port}/")  # the stream notices with what it tells next
        window.shows("h1", "Log in")
        assert window.run("return location.pathname + location.search") == "/login?next=/live"


@pytest.mark.parametrize("place", ["//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nX: y", "", "x"])
async def test_a_login_leads_to_no_other_site(site: Any, place: str) -> None:
    async with site() as here:
        answer = await here.client.get("/login", params={"next": place})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_a_long_file_makes_no_long_page(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST", 2)
    async with site() as here:
        page = (await here.get("/")).text
        assert page.count("console_page_handlers.") == 2
        assert "the first 2 routes" in page
        page = (await here.get("/configuration")).text
        assert "devices:" in page
        assert "1 more" in page
        assert "mail:" not in page


async def test_what_pages_are_sent_with(site: Any) -> None:
    async with site() as here:
        page = await here.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        (script,) = re.findall(r'<script src="([^"]+)"', page.text)
        first = await here.get(script)
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"
        again = await here.get(script, **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "content-length" not in again.headers
        assert again.headers["cache-control"] == "no-cache"
        weak = await here.get(script, **{"if-none-match": f'"x", W/{first.headers["etag"]}'})
        assert weak.status_code == 304
        assert (await here.get(script, **{"if-none-match": '"x"'})).status_code == 200
        assert (await here.post("/")).status_code == 405
        assert (await here.get("/nothing")).status_code == 404
        assert (await here.get("/static/../app.py")).status_code == 404
        link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
        assert (await here.get("/", **link)).status_code == 200
        assert (await here.get("/", **{**link, "sec-fetch-dest": "iframe"})).status_code == 403
