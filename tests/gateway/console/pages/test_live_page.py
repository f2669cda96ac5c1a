"""The page on what arrives, in a real Chromium: every protocol, hostile content, many arrivals, a reload meanwhile."""

import smtplib
from collections.abc import Iterator
from email.message import EmailMessage

import httpx
import pytest
from paho.mqtt.client import MQTTv5
from paho.mqtt.publish import multiple, single
from servers.command import run
from servers.console import HOSTILE, ConsolePages, console_pages
from servers.ports import free_port
from servers.site import until
from servers.texts import webhook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, AsyncSMSConsumer, EmailConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Text(AsyncSMSConsumer):
    async def receive(self, text, media):
        pass

def order_of(message):
    raise KeyError(message.subject)

class Desk(EmailConsumer):
    def receive(self, message):
        order_of(message)
"""


class Ports:
    def __init__(self) -> None:
        self.web, self.mqtt, self.smtp = free_port(), free_port(), free_port()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[ConsolePages]:
    config = f"""
servers:
  web: {{protocol: http, bind: "127.0.0.1:{ports.web}"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{ports.mqtt}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{ports.smtp}"}}
  texts: {{protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret, send_url: "http://127.0.0.1:9"}}
routes:
  http: handlers.Web
  mqtt: handlers.Device
  sms: handlers.Text
  email: {{app: handlers.Desk, inbox: true, attempts: 1}}
store: sqlite:var/gateway.db
"""
    with console_pages(tmp_path_factory.mktemp("live"), config, HANDLERS) as pages:
        yield pages


def begin(console: ConsolePages, query: str = "") -> None:
    console.open(f"/live{query}")
    until(lambda: not console.window.run("return document.getElementById('pause').hidden"), "its script runs")


def text(ports: Ports, words: str) -> None:
    body, headers = webhook(words, words[:50])
    url = f"http://127.0.0.1:{ports.web}/hooks/sms"
    assert httpx.post(url, content=body, headers=headers).status_code // 100 == 2


def mail(ports: Ports, subject: str, html: str) -> None:
    written = EmailMessage()
    written["From"], written["To"], written["Subject"] = "ada@example.org", "help@shop.example", subject
    written.set_content("See the HTML.")
    written.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", ports.smtp, timeout=20) as client:
        client.send_message(written)


def shown(console: ConsolePages) -> str:
    found: str = console.window.run("return document.getElementById('arrivals').innerText")
    return found


def look_at(console: ConsolePages, words: str) -> None:
    """Open the latest arrival whose row has these words."""
    console.window.shows("#arrivals", words)
    script = """
    const row = [...document.querySelectorAll('#arrivals tr')].find((row) => row.innerText.includes(arguments[0]));
    row.querySelector('a').click();
    """
    console.window.run(script, words)
    until(lambda: console.window.run("return document.getElementById('detail').open"), "it is shown")


def close(console: ConsolePages) -> None:
    console.press("Escape")
    until(lambda: not console.window.run("return document.getElementById('detail').open"), "it is closed")


def test_hostile_content_of_every_protocol_is_text(console: ConsolePages, ports: Ports) -> None:
    begin(console)
    for number, words in enumerate(HOSTILE):
        plain = words.encode("ascii", "ignore").decode()[:200]
        httpx.get(
            f"http://127.0.0.1:{ports.web}/web-{number}", params={"q": words[:200]}, headers={"User-Agent": plain}
        )
        topic = f"hostile/{number}/" + words[:200].replace("#", "").replace("+", "")
        single(topic, words, qos=1, port=ports.mqtt, client_id=f"{number} {words[:100]}", protocol=MQTTv5)
        text(ports, f"text {number} {words[:500]}")
        mail(ports, words[:200], words)
    console.window.shows("#arrivals", "/web-6")
    look_at(console, "hostile/0/")
    console.window.shows("#detail", "<script>document.title='stolen'</script>")
    close(console)
    look_at(console, "/web-0")
    console.window.shows("#detail", "user-agent")
    close(console)
    look_at(console, "KeyError")
    console.window.shows("#detail", "order_of(message)")
    console.window.shows("#detail", "See the HTML.")
    console.window.shows("#detail caption", "is dead")
    close(console)
    console.is_sound("Live")
    console.window.run("document.querySelector('#arrivals a').focus()")
    console.open(console.window.run("return document.activeElement.getAttribute('href')"))
    console.is_sound("Arrival")


def test_a_filter_lets_only_what_fits_pass(console: ConsolePages, ports: Ports) -> None:
    begin(console, "?type=mqtt&topic=wanted/%23&text=")
    single("other/1", "1", qos=1, port=ports.mqtt)
    single("wanted/1", "1", qos=1, port=ports.mqtt)
    console.window.shows("#arrivals", "wanted/1")
    assert "other/1" not in shown(console)
    console.open("/live?topic=a/%23/b")
    console.window.shows("[role=alert]", "is not a topic filter")


def test_a_pause_holds_back_what_comes(console: ConsolePages, ports: Ports) -> None:
    begin(console)
    console.window.run("document.getElementById('pause').focus()")
    console.press("Enter")
    until(lambda: console.window.run("return pause.getAttribute('aria-pressed')") == "true", "it is paused")
    single("paused/1", "1", qos=1, port=ports.mqtt)
    console.window.shows("#pause", "wait")
    assert "paused/1" not in shown(console)
    console.press("Enter")
    console.window.shows("#arrivals", "paused/1")
    console.window.shows("#pause", "Pause")


def test_many_arrivals_keep_the_page_small(console: ConsolePages, ports: Ports) -> None:
    begin(console)
    for begins in range(0, 10_000, 1000):
        messages = [{"topic": f"many/{number}", "payload": "1", "qos": 1} for number in range(begins, begins + 1000)]
        multiple(messages, port=ports.mqtt)
    console.window.shows("#arrivals", "many/9999")
    assert console.window.run("return document.querySelectorAll('#arrivals tr').length") <= 500


def test_it_goes_on_over_a_reload_and_misses_nothing(console: ConsolePages, ports: Ports) -> None:
    begin(console)
    console.window.run("window.neverReloaded = true")
    single("before/1", "1", qos=1, port=ports.mqtt)
    console.window.shows("#arrivals", "before/1")
    reloaded = run(console.folder, "reload", "--force")
    assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
    single("after/1", "1", qos=1, port=ports.mqtt)
    console.window.shows("#arrivals", "after/1")
    single("after/2", "1", qos=1, port=ports.mqtt)
    console.window.shows("#arrivals", "after/2")
    rows = shown(console).splitlines()
    assert [sum(topic in row for row in rows) for topic in ("before/1", "after/1", "after/2")] == [1, 1, 1]
    assert console.window.run("return window.neverReloaded")
