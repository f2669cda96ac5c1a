"""The page in a real browser."""

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from servers.browser import Browser, browser
from servers.site import Site

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
        assert bob.recv(timeout=20) == "Ann: Hi"
        bob.send("Bob: Hi, Ann")
        page.shows("#chat-list", "Bob: Hi, Ann")


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
        own_site.start()
        window.shows("#status", "live")
        own_site.publish("sensors/again/temperature", "20")
        window.shows("#sensors", "20.0 °C")
