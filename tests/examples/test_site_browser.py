"""The page in a real browser."""

import contextlib
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers.browser import Browser, browser
from servers.site import Site, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def page(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as window:
        window.open(site.url("/"))
        window.shows("#status", "live")
        window.run("window.neverReloaded = true")
        yield window


def test_what_arrives_after_the_page_was_loaded_is_shown_without_a_reload(site: Site, page: Browser) -> None:
    site.publish("sensors/window/temperature", '{"celsius": 18.25}')
    site.publish("sensors/window/temperature", '{"celsius": 19.5}')
    page.shows("#sensors", "19.5 °C")
    assert page.run("return document.querySelectorAll('#chart path').length") == 1
    site.sms("Is anybody there?", sender="+447700900123", message_id="browser")
    page.shows("#text-list", "Is anybody there?")
    message = EmailMessage()
    message["Subject"] = "<b>bold</b> & brave"
    message.set_content("<script>document.title = 'stolen'</script>")
    site.mail(message, sender="ann@example.org", to="help@support.example.org")
    page.shows("#ticket-list", "<b>bold</b> & brave")
    page.shows("#ticket-list", "<script>")
    assert page.run("return [document.title, window.neverReloaded]") == ["Helpdesk", True]


def test_the_chat(site: Site, page: Browser) -> None:
    with site.websocket("/chat/") as bob:
        page.run(
            "document.querySelector('[name=name]').value = 'Ann'; document.querySelector('[name=text]').value = 'Hi'"
        )
        page.run("document.querySelector('form').requestSubmit()")
        until(lambda: bob.recv(timeout=20) == "Ann: Hi", "Bob hears Ann")
        bob.send("Bob: Hi, Ann")
        page.shows("#chat-list", "Bob: Hi, Ann")
    page.run("document.querySelector('[name=name]').dispatchEvent(new Event('change'))")
    page.open(site.url("/"))
    page.shows("#chat-list", "Bob: Hi, Ann")
    assert page.run("return document.querySelector('[name=name]').value") == "Ann"
    page.run("window.neverReloaded = true")


def test_the_time_that_the_chart_shows(site: Site, page: Browser) -> None:
    site.publish("sensors/window/temperature", "19")
    page.shows("#sensors", "window")
    label = "return document.querySelector('#chart text[text-anchor=start]').textContent"
    until(lambda: page.run("return document.querySelectorAll('#chart path').length > 0"), "it is drawn")
    page.run("document.querySelector('#window [value=\"10\"]').click()")
    assert page.run("return localStorage.getItem('minutes')") == "10"
    until(lambda: page.run(label), "it is drawn again")
    page.run("document.querySelector('#window [value=\"\"]').click()")


SPEAKS_MQTT = """
const [version, sensor, celsius] = arguments;
const bytes = (text) => [...new TextEncoder().encode(text)];
const string = (text) => [0, bytes(text).length, ...bytes(text)];
const none = version === 5 ? [0] : [];                                            // no properties
const topic = `sensors/${sensor}/temperature`;
const socket = new WebSocket(`ws://${location.host}/mqtt`, "mqtt");
const say = (first, ...body) => socket.send(new Uint8Array([first, body.length, ...body]));
let left = [];
window.heard = [];
socket.binaryType = "arraybuffer";
socket.onopen = () => say(0x10, ...string("MQTT"), version, 2, 0, 60, ...none, ...string(`browser-${version}`));
socket.onmessage = (event) => {
  left.push(...new Uint8Array(event.data));
  while (left.length > 1 && left.length >= left[1] + 2) {                         // all are short: a length of one byte
    const [first, , ...packet] = left.splice(0, left[1] + 2);
    window.heard.push({first, end: String.fromCharCode(...packet.slice(-celsius.length))});
    if (first === 0x20) say(0x82, 0, 1, ...none, ...string(topic), 1);            // CONNACK: SUBSCRIBE at QoS 1
    if (first === 0x90) say(0x32, ...string(topic), 0, 2, ...none, ...bytes(celsius));  // SUBACK: PUBLISH at QoS 1
  }
};
"""


@pytest.mark.parametrize("version", [4, 5])
def test_a_page_speaks_mqtt(site: Site, page: Browser, version: int) -> None:
    """CONNECT, SUBSCRIBE, PUBLISH as bytes over a WebSocket; the reading is handled, and comes back as a message."""
    page.run(SPEAKS_MQTT, version, f"browser-{version}", f"23.{version}")
    until(lambda: len(page.run("return window.heard")) == 4, lambda: str(page.run("return window.heard")))
    connack, suback, *both = page.run("return window.heard")
    assert (connack["first"], suback["first"]) == (0x20, 0x90)
    assert sorted(each["first"] for each in both) == [0x32, 0x40]  # the message itself, and its PUBACK
    assert [each["end"] for each in both if each["first"] == 0x32] == [f"23.{version}"]
    page.shows("#sensors", f"23.{version} °C")


def test_it_fits_a_phone(page: Browser) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.tools("Emulation.setDeviceMetricsOverride", **metrics)
    try:
        assert page.run("return document.documentElement.scrollWidth") <= 360
    finally:
        page.tools("Emulation.clearDeviceMetricsOverride")


def test_it_has_no_errors_and_asks_nobody_else(site: Site, page: Browser) -> None:
    assert page.errors() == []
    loaded = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded
    assert all(name.startswith(site.url("/")) for name in loaded)


def test_it_reconnects_by_itself(tmp_path_factory: pytest.TempPathFactory, own_site: Site) -> None:
    with browser(tmp_path_factory.mktemp("again")) as window:
        window.open(own_site.url("/"))
        window.shows("#status", "live")
        own_site.close()
        window.shows("#status", "connection lost")
        window.run("document.querySelector('[name=text]').value = 'Wait for me'")
        window.run("document.querySelector('form').requestSubmit()")
        assert window.run("return document.querySelector('form button').disabled")
        own_site.start()
        window.shows("#status", "live")
        own_site.publish("sensors/again/temperature", "20")
        window.shows("#sensors", "20.0 °C")
        until(lambda: not window.run("return document.querySelector('form button').disabled"), "the chat is back")
        window.run("document.querySelector('form').requestSubmit()")
        window.shows("#chat-list", "Wait for me")


def test_a_ticket_is_readable_on_a_phone(site: Site, tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "Wide" * 40
    message.set_content("A long line, which has no end. " * 40 + "\n\n" + "x" * 400)
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="y" * 120 + ".pdf")
    site.mail(message, sender="zoe@phone.example", to="help@support.example.org")
    [(number,)] = site.rows("SELECT MAX(id) FROM helpdesk_ticket WHERE sender = 'zoe@phone.example'")
    with browser(tmp_path, (390, 844)) as phone:
        phone.tools("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
        phone.open(site.url(f"/admin/login/?next=/tickets/{number}/"))
        phone.run("for (const name of ['username', 'password']) document.getElementsByName(name)[0].value = 'ann'")
        phone.run("document.getElementsByName('password')[0].value = 'secret-ann'; document.forms[0].submit()")
        phone.shows(".mails", "A long line")
        until(lambda: phone.run("return document.documentElement.scrollWidth") == 390, "it is styled, and no wider")
        assert phone.run("return document.querySelector('textarea').offsetWidth") > 300
        hidden = "return [...document.querySelectorAll('.mails *')].filter((e) => e.scrollHeight > e.clientHeight + 1"
        assert phone.run(f"{hidden} && e.clientHeight).map((e) => e.className)") == []


@contextlib.contextmanager
def another_site(folder: Path) -> Iterator[str]:
    (folder / "index.html").write_text("<!doctype html><title>Another site</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_page_of_another_origin_may_not_connect_and_the_own_page_may(
    site: Site, page: Browser, tmp_path: Path
) -> None:
    """A cookie of 127.0.0.1 goes to every port of it, also where a page of another port asks."""
    tried = """
        document.cookie = "session=1; path=/";
        window.came = [];
        const socket = new WebSocket(arguments[0]);
        for (const type of ["open", "error"]) socket.addEventListener(type, () => window.came.push(type));
    """
    chat = site.url("/chat/").replace("http", "ws", 1)

    def comes() -> str:
        page.run(tried, chat)
        return str(until(lambda: page.run("return window.came[0]"), "it is connected or refused"))

    with another_site(tmp_path) as other:
        page.open(other)
        assert comes() == "error"
        page.open(site.url("/"))
        assert comes() == "open"
    page.run("window.neverReloaded = true")
    refused = [line for line in site.log.read_text().splitlines() if "refused with 403" in line]
    assert len(refused) == 1
    assert other.removesuffix("/") in refused[0]
