"""The pages that list messages, connections, sessions and retained messages, and change them, in a real Chromium."""

import asyncio
import smtplib
import subprocess
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from kept_messages import message
from paho.mqtt.enums import CallbackAPIVersion
from servers.console import HOSTILE, ConsolePages, console_pages
from servers.ports import free_port
from servers.programs import program
from servers.site import until

from gateway.console.pages.connected import CLIENTS, RETAINED, SESSIONS
from gateway.console.pages.kept import DEAD, OUTGOING
from gateway.store import engine_of
from protocols.access.users import hash_password

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HANDLERS = """
import pathlib
from gateway import AsyncMqttConsumer, EmailConsumer

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Desk(EmailConsumer):
    def receive(self, message):
        if not pathlib.Path("mended").exists():
            raise KeyError(message.subject)
"""


class Ports:
    def __init__(self) -> None:
        self.mqtt, self.smtp, self.other = free_port(), free_port(), free_port()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, ports: Ports) -> Iterator[ConsolePages]:
    config = f"""
servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{ports.mqtt}", anonymous: true}}
  others: {{protocol: mqtt, bind: "127.0.0.1:{ports.other}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{ports.smtp}", max_message_rate: 0}}
routes:
  mqtt: handlers.Device
  email: {{app: handlers.Desk, inbox: true, attempts: 1}}
store: sqlite:var/gateway.db
"""
    with console_pages(tmp_path_factory.mktemp("lists"), config, HANDLERS) as pages:
        yield pages


def api(console: ConsolePages, path: str, **query: Any) -> Any:
    return httpx.get(console.url + path, params=query).json()


def mail(ports: Ports, subject: str, text: str = "Hello") -> None:
    written = EmailMessage()
    written["From"], written["To"] = "ada@example.org", "help@shop.example"
    written["Subject"] = subject
    written.set_content(text)
    with smtplib.SMTP("127.0.0.1", ports.smtp, timeout=20) as client:
        client.send_message(written)


def connected(port: int, client_id: str, *filters: str, expiry: int = 0) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    properties = paho.Properties(paho.PacketTypes.CONNECT)
    properties.SessionExpiryInterval = expiry
    client.connect("127.0.0.1", port, properties=properties)
    client.loop_start()
    until(client.is_connected, "it is connected")
    for each in filters:
        client.subscribe(each, qos=1)
    return client


def retain(port: int, topic: str, payload: bytes) -> None:
    client = connected(port, "retainer")
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def check(console: ConsolePages, text: str) -> None:
    """Check the entries of the list that show ``text``."""
    script = """
    const rows = [...document.querySelectorAll('tbody tr')].filter((row) => row.innerText.includes(arguments[0]));
    rows.forEach((row) => row.querySelector('[name=chosen]').click());
    return rows.length;
    """
    assert console.window.run(script, text) > 0


def press(console: ConsolePages, label: str, which: str = "chosen") -> None:
    """Press a button of the list, and say yes."""
    window = console.window
    window.run("document.getElementById('which').value = arguments[0]", which)
    find = "[...document.querySelectorAll('#bulk button')].find((e) => e.innerText === arguments[0])"
    window.run(f"{find}.click()", label)
    until(lambda: window.run("return document.getElementById('confirm').open"), "it asks")
    window.run("document.querySelector('#confirm [value=yes]').click()")
    window.shows("#notice", "Done")


def test_hostile_mail_is_shown_as_text(console: ConsolePages, ports: Ports) -> None:
    for words in HOSTILE:
        mail(ports, words[:200], "\n".join(HOSTILE))
    until(lambda: len(api(console, "/api/dead")["entries"]) >= len(HOSTILE), "they are dead")
    console.open("/dead")
    console.is_sound("Dead letters")
    shown = console.window.run("return document.querySelector('#entries').innerText")
    assert "{{ 7 * 7 }}" in shown
    console.window.run("document.querySelector('tbody th a').click()")
    console.window.shows("pre[aria-label=Content]", "<script>document.title='stolen'</script>")
    console.window.shows("pre[aria-label=Error]", "KeyError")
    console.window.shows("caption", "is dead")
    console.window.shows("header .name", "gateway.yaml")
    console.is_sound("Dead letters")


def test_a_search_works_without_the_script(console: ConsolePages, ports: Ports) -> None:
    needle = f"needle-{uuid.uuid4()}"  # another one in a second try
    mail(ports, needle)
    until(lambda: api(console, "/api/dead", text=needle)["entries"], "it is dead")
    console.open(f"/dead?text={needle}&type=&attempts=")
    assert console.window.run("return document.querySelectorAll('tbody tr').length") == 1
    assert console.window.run("return document.querySelector('[name=text]').value") == needle
    console.open("/dead?attempts=many")
    console.window.shows("[role=alert]", "attempts: write a whole number")
    console.open("/dead?after=nothing")
    console.window.shows("[role=alert]", "is not the place of a page")


def test_a_dead_letter_is_downloaded_as_it_came(console: ConsolePages, ports: Ports) -> None:
    words = f"to download {uuid.uuid4()}"  # another one in a second try
    mail(ports, words, "The bytes")
    (entry,) = until(lambda: api(console, "/api/dead", text=words)["entries"], "it is dead")
    console.open(f"/dead/show?id={entry['id']}")
    link = console.window.run("return document.querySelector('a[href*=\"/file\"]').href")
    answer = httpx.get(link)
    assert b"\r\nThe bytes\r\n" in answer.content
    assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{entry['id']}.eml"
    assert httpx.get(f"{console.url}/dead/file?id=nothing").status_code == 404
    assert httpx.head(link).headers["content-disposition"] == answer.headers["content-disposition"]
    console.daemon.says(f"download of {entry['id']}.eml by somebody from 127.0.0.1")


def test_what_is_mended_is_retried_and_the_rest_dropped(console: ConsolePages, ports: Ports) -> None:
    mail(ports, "handle me")
    mail(ports, "drop me")
    until(lambda: len(api(console, "/api/dead", text=" me")["entries"]) >= 2, "they are dead")
    console.open("/dead?text=drop+me")
    press(console, "Drop", "matching")
    console.window.shows("#entries", "Nothing fits")
    (console.folder / "mended").touch()
    try:
        console.open("/dead")
        check(console, "handle me")
        press(console, "Retry")
        console.window.shows("#notice", "Done: 1 of 1.")
        until(lambda: not api(console, "/api/dead", text="handle me")["entries"], "it is handled")
        for name in ("dead_drop", "dead_retry"):
            console.daemon.says(f"{name} by somebody from 127.0.0.1")
    finally:
        (console.folder / "mended").unlink()


async def test_a_large_change_tells_how_far_it_is(console: ConsolePages) -> None:
    store = engine_of(f"sqlite:{console.folder}/var/gateway.db").store()
    await store.open()
    for begin in range(0, 10_000, 1000):
        buried = (message(f"bulk{n:05}", subject="bulk") for n in range(begin, begin + 1000))
        await asyncio.gather(*(store.dead_letter(each, error="KeyError: bulk") for each in buried))
    await store.close()
    window = console.open("/dead?error=KeyError:+bulk")
    window.run("""
        window.values = [];
        const look = () => { window.values.push(progress.value); requestAnimationFrame(look); };
        const progress = document.getElementById("progress");
        look();
    """)
    press(console, "Drop", "matching")
    window.shows("#notice", "Done: 10000 of 10000.")
    values = window.run("return window.values")
    assert values == sorted(values)
    assert len({each for each in values if 0 < each < 10_000}) > 2


def test_a_device_is_looked_at_and_disconnected(console: ConsolePages, ports: Ports) -> None:
    reasons: list[Any] = []
    device = connected(ports.mqtt, "<b>attic</b>", "sensors/<i>attic</i>/#")
    device.on_disconnect = lambda *told: reasons.append(told[3].value)
    try:
        console.open("/clients?client_id=*attic*")
        console.is_sound("Clients")
        console.window.run("document.querySelector('tbody th a').click()")
        console.window.shows("pre[aria-label=filters]", "sensors/<i>attic</i>/#")
        console.is_sound("Clients")
        console.open("/clients")
        check(console, "<b>attic</b>")
        press(console, "Disconnect")
        until(lambda: reasons, "the device is told")
        assert reasons[0] == 0x98
    finally:
        device.disconnect()
        device.loop_stop()


def test_a_session_is_deleted(console: ConsolePages, ports: Ports) -> None:
    client = connected(ports.mqtt, "session-of-attic", "a/b", expiry=3600)
    until(lambda: api(console, "/api/sessions", client_id="session-of-attic", topic="a/b")["entries"], "it is kept")
    client.disconnect()
    client.loop_stop()
    console.open("/sessions?client_id=session-of-attic")
    console.is_sound("Sessions")
    press(console, "Delete", "matching")
    console.window.shows("#entries", "Nothing fits")
    assert api(console, "/api/sessions", client_id="session-of-attic")["entries"] == []


def test_a_retained_message_is_looked_at_and_deleted(console: ConsolePages, ports: Ports) -> None:
    for number, words in enumerate(HOSTILE):
        retain(ports.mqtt, f"hostile/{number}/{words[:100].replace('#', '').replace('+', '')}", words.encode())
    retain(ports.mqtt, "hostile/bytes", b"\xff\x00\x80")
    console.open("/retained?filter=hostile/%23")
    console.is_sound("Retained")
    console.window.run("document.querySelector('tbody th a').click()")
    console.window.shows("pre[aria-label=Payload]", "<script>")
    console.is_sound("Retained")
    console.open("/retained/show?topics=hostile/bytes")
    console.window.shows("pre[aria-label=Payload]", "ff")
    console.open("/retained?filter=hostile/%23")
    press(console, "Delete", "matching")
    console.window.shows("#entries", "Nothing fits")
    listener = [program("mosquitto_sub"), "-p", str(ports.mqtt), "-t", "hostile/#", "-W", "2", "-V", "mqttv5"]
    assert subprocess.run(listener, capture_output=True, timeout=20).stdout == b""


def test_only_the_server_whose_entry_is_checked_is_changed(console: ConsolePages, ports: Ports) -> None:
    for port in (ports.mqtt, ports.other):
        retain(port, "both/<b>", b"1")
    console.open("/retained?filter=both/%23&by=size")
    console.window.run("document.querySelector('[name=chosen][data-server=devices]').click()")
    press(console, "Delete")
    left = api(console, "/api/retained", filter="both/#")["entries"]
    assert [each["server"] for each in left] == ["others"]
    console.window.run("document.querySelector('tbody th a').click()")
    console.window.shows("main", "others")
    console.open("/retained?filter=both/%23&by=size")
    press(console, "Delete", "matching")
    console.window.shows("#entries", "Nothing fits")


def test_nothing_is_changed_without_a_yes(console: ConsolePages, ports: Ports) -> None:
    mail(ports, "to keep")
    until(lambda: api(console, "/api/dead", text="to keep")["entries"], "it is dead")
    window = console.open("/dead?text=to+keep")
    find = "[...document.querySelectorAll('#bulk button')].find((e) => e.innerText === 'Drop')"
    window.run(f"{find}.click()")
    window.shows("#notice", "Check one or more first.")
    check(console, "to keep")
    window.run(f"{find}.focus(); {find}.click()")
    until(lambda: window.run("return document.getElementById('confirm').open"), "it asks")
    assert window.run("return document.activeElement.innerText") == "Cancel"
    console.press("Enter")
    until(lambda: not window.run("return document.getElementById('confirm').open"), "it has asked")
    assert api(console, "/api/dead", text="to keep")["entries"]


def test_a_change_of_those_that_are_away_leaves_those_that_are_connected(console: ConsolePages, ports: Ports) -> None:
    here = connected(ports.mqtt, "kept-here", "a/b", expiry=3600)
    away = connected(ports.mqtt, "kept-away", "a/b", expiry=3600)
    away.disconnect()
    away.loop_stop()
    try:
        until(lambda: api(console, "/api/sessions", client_id="kept-away", connected="false")["entries"], "it is away")
        window = console.open("/sessions?server=devices&connected=false")
        assert window.run("return document.querySelector('[name=connected]').value") == "false"
        press(console, "Delete", "matching")
        left = [each["client_id"] for each in api(console, "/api/sessions", client_id="kept-*")["entries"]]
        assert left == ["kept-here"]
        console.open("/sessions?connected=true")
        assert window.run("return document.querySelector('[name=connected]').value") == "true"
        window.shows("#entries", "kept-here")
    finally:
        here.disconnect()
        here.loop_stop()


@pytest.mark.parametrize("path", ["/dead", "/outgoing", "/waiting", "/clients", "/sessions", "/retained"])
def test_a_mistake_in_an_address_is_said(console: ConsolePages, path: str) -> None:
    answer = httpx.get(f"{console.url}{path}?rout=x")
    assert answer.status_code == 400
    assert "there is no filter &#39;rout&#39;" in answer.text
    for query in ("", "?id=", "?x=1"):
        answer = httpx.get(f"{console.url}{path}/show{query}")
        assert answer.status_code == 400
        assert " is missing: " in answer.text
    assert "failed" not in console.daemon.text


def test_a_page_that_the_browser_shows_again_is_loaded_again(console: ConsolePages, ports: Ports) -> None:
    for subject in ("first of two", "second of two"):
        mail(ports, subject)
    first, second = until(
        lambda: len(found := api(console, "/api/dead", text="of two")["entries"]) == 2 and found, "they are dead"
    )
    window = console.open("/dead?text=of+two")
    window.run("document.querySelector('[name=chosen]').click()")
    window.run("document.querySelector('tbody th a').click()")
    window.shows("caption", "is dead")
    httpx.post(f"{console.url}/api/dead/drop", json={"ids": [first["id"]]})
    window.run("history.back()")
    listed = "return [...document.querySelectorAll('[name=chosen]')].map((box) => [box.value, box.checked])"
    until(lambda: window.run(listed) == [[second["id"], False]], lambda: str(window.run(listed)))
    press(console, "Drop", "matching")


def test_what_no_filter_limits_is_not_asked_for_in_vain(console: ConsolePages, ports: Ports) -> None:
    client = connected(ports.mqtt, "everyone")
    try:
        window = console.open("/clients")
        window.run("document.getElementById('which').value = 'matching'")
        window.run("document.querySelector('#bulk [data-action]').click()")
        window.shows("#notice", "Search with one filter or more first.")
        assert not window.run("return document.getElementById('confirm').open")
        assert client.is_connected()
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_long_topic_makes_no_long_row(console: ConsolePages, ports: Ports) -> None:
    topic = "long/" + "w" * 5000  # an address has 8 KiB at most
    retain(ports.mqtt, topic, b"1")
    window = console.open("/retained?filter=long/%23")
    assert window.run("return document.querySelector('tbody').innerText.length") < 1000
    console.is_sound("Retained")
    window.run("document.querySelector('tbody th a').click()")
    until(lambda: window.run("return document.querySelector('main h2')?.innerText") == topic, "all of it is shown")
    console.open("/retained?filter=long/%23")
    press(console, "Delete", "matching")


@pytest.mark.parametrize("chosen", ["this one", "these 3"])
def test_the_questions_are_sentences(chosen: str) -> None:
    actions = [action for listing in (DEAD, OUTGOING, CLIENTS, SESSIONS, RETAINED) for action in listing.actions]
    for question in (action.question.format(chosen) for action in actions):
        assert chosen in question
        assert not {"they", "their", "its"} & set(question.lower().replace(".", "").split())


async def test_a_change_that_ends_early_is_not_said_to_be_done(tmp_path: Path) -> None:
    config = f'servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:{free_port()}"}}}}\n'
    config += "routes: {email: {app: handlers.Desk, inbox: true}}\nstore: sqlite:var/gateway.db\n"
    users = f", users: {{ann: '{hash_password(b'right')}'}}"
    with console_pages(tmp_path, config, HANDLERS, users) as console:
        store = engine_of(f"sqlite:{tmp_path}/var/gateway.db").store()
        await store.open()
        for begin in range(0, 40_000, 1000):
            buried = (message(f"early{n:05}") for n in range(begin, begin + 1000))
            await asyncio.gather(*(store.dead_letter(each, error="early") for each in buried))
        window = console.open("/login?next=/dead")
        window.run("username.value = 'ann'; password.value = 'right'; document.querySelector('main button').click()")
        window.shows("caption", "Dead letters")
        window.run("""
            const progress = document.getElementById("progress"), headers = { "Content-Type": "application/json" };
            const leave = () => fetch("/api/logout", { method: "POST", headers, body: "{}" });
            const look = () => progress.value ? leave() : setTimeout(look);
            look();
        """)
        window.run("document.getElementById('which').value = 'matching'")
        window.run("[...document.querySelectorAll('#bulk button')].find((e) => e.innerText === 'Drop').click()")
        window.run("document.querySelector('#confirm [value=yes]').click()")
        window.shows("#notice", "It ended early")
        assert "of 40000 were tried" in window.run("return document.getElementById('notice').innerText")
        assert 0 < len(await store.dead(type=None, limit=50_000, after="")) < 40_000
        await store.close()


@pytest.mark.parametrize("path", ["/waiting", "/outgoing", "/dead", "/clients", "/sessions", "/retained"])
def test_a_list_is_sound(console: ConsolePages, path: str) -> None:
    console.open(path)
    console.is_sound(console.window.run("return document.querySelector('h1').innerText"))
