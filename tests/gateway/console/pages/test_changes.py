"""Changes of many entries from a list, in a real Chromium: with the keyboard alone, stopped, slowed down, exported."""

import asyncio
import contextlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from kept_messages import bury, message, outgoing
from paho.mqtt.enums import CallbackAPIVersion
from servers.command import run
from servers.console import ConsolePages, console_pages
from servers.ports import free_port
from servers.site import until

from gateway.store import Store, engine_of
from gateway.store.parts.operator import Operator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

HANDLERS = """
from gateway import AsyncMqttConsumer, EmailConsumer

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Desk(EmailConsumer):
    def receive(self, message):
        raise KeyError("order")
"""


@pytest.fixture(scope="module")
def mqtt() -> int:
    return free_port()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, mqtt: int) -> Iterator[ConsolePages]:
    config = f"""
servers:
  devices: {{protocol: mqtt, bind: "127.0.0.1:{mqtt}", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{free_port()}"}}
routes:
  mqtt: handlers.Device
  email: {{app: handlers.Desk, inbox: true, attempts: 1}}
submission: {{url: "smtp://127.0.0.1:9"}}
store: sqlite:var/gateway.db
"""
    with console_pages(tmp_path_factory.mktemp("changes"), config, HANDLERS) as pages:
        yield pages


async def store_of(console: ConsolePages) -> Store:
    store = engine_of(f"sqlite:{console.folder}/var/gateway.db").store()
    await store.open()
    return store


async def filled(console: ConsolePages, name: str, count: int) -> None:
    store = await store_of(console)
    for begin in range(0, count, 1000):
        buried = (message(f"{name}{n:06}") for n in range(begin, min(count, begin + 1000)))
        await asyncio.gather(*(store.dead_letter(each, error=f"KeyError: {name}") for each in buried))
    await store.close()


def names(console: ConsolePages, path: str) -> list[str]:
    found = httpx.get(f"{console.url}/api{path}", timeout=20).json()["entries"]
    return [each["id"] for each in found]


def tab_to(console: ConsolePages, words: str) -> None:
    """Press Tab until what has the focus is called so."""
    script = """
        const e = document.activeElement;
        return e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText;
    """
    for _ in range(60):
        console.press("Tab")
        if words in (console.window.run(script) or ""):
            return
    pytest.fail(f"Tab does not reach {words!r}")


async def test_a_whole_change_with_the_keyboard_alone(console: ConsolePages) -> None:
    await filled(console, "keys", 3)
    window = console.open("/dead?error=keys")
    for number in (0, 1):
        tab_to(console, f"Check keys{number:06}")
        console.press(" ")
    window.run("document.getElementById('which').focus()")
    tab_to(console, "Drop")
    console.press("Enter")
    until(lambda: window.run("return document.getElementById('confirm').open"), "it asks")
    assert window.run("return document.getElementById('confirm-question').innerText") == "Drop these 2 for good?"
    console.press("Tab", modifiers=8)
    assert window.run("return document.activeElement.innerText") == "Yes"
    console.press("Enter")
    window.shows("#notice", "Done: 2 of 2.")
    until(lambda: names(console, "/dead?error=keys") == ["keys000002"], "the others stay")
    assert window.run("return document.activeElement.innerText") == "Drop"
    tab_to(console, "Check keys000002")  # the entries were fetched again
    console.press(" ")
    assert window.run("return document.querySelectorAll('[name=chosen]:checked').length") == 1


def test_a_screen_reader_has_names_of_what_changes_by_itself(console: ConsolePages) -> None:
    for path in ("/dead", "/live", "/reload", "/"):
        window = console.open(path)
        window.run("gateway.say('Something is said.')")
        nodes = window.tools("Accessibility.getFullAXTree")["nodes"]
        live = {
            each["name"]["value"]
            for each in nodes
            if not each["ignored"] and each.get("role", {}).get("value") == "status"
        }
        assert "Notice" in live
        assert "" not in live
        text = [each["name"]["value"] for each in nodes if each.get("role", {}).get("value") == "StaticText"]
        assert "Something is said." in text
        window.run("gateway.say('')")


async def test_those_that_are_checked_are_exported(console: ConsolePages, tmp_path: Path) -> None:
    await filled(console, "export", 3)
    window = console.open("/dead?error=export")
    window.tools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    press = "[...document.querySelectorAll('#bulk button')].find((e) => e.innerText === 'Export').click()"
    window.run(press)
    window.shows("#notice", "Check one or more first.")
    window.run("document.querySelectorAll('[name=chosen]')[1].click()")
    window.run(press)
    file = tmp_path / "dead.tar"
    until(file.exists, "it is downloaded")
    with tarfile.open(file) as archive:
        assert archive.getnames() == ["export000001.eml"]
    file.unlink()
    window.run("document.getElementById('which').value = 'matching'")
    window.run(press)
    until(file.exists, "it is downloaded")
    with tarfile.open(file) as archive:
        assert archive.getnames() == [f"export{n:06}.eml" for n in range(3)]


async def test_a_search_keeps_its_filters_on_the_next_page_and_in_the_export(console: ConsolePages) -> None:
    await filled(console, "paging", 60)
    await filled(console, "zz-other", 5)
    window = console.open("/dead?error=paging")
    window.run("document.querySelector('a[rel=next]').click()")
    until(lambda: window.run("return document.querySelectorAll('[name=chosen]').length") == 10, "the rest is there")
    link = window.run("return [...document.querySelectorAll('a')].find((e) => e.innerText.startsWith('Export')).href")
    assert link == f"{console.url}/dead/export?error=paging"


async def test_a_change_that_is_stopped_says_how_far_it_was(console: ConsolePages) -> None:
    await filled(console, "stop", 30_000)
    window = console.open("/dead?error=stop")
    window.run("""
        const look = () => document.getElementById("far").innerText.includes("of 30000")
            ? document.getElementById("stop").click() : setTimeout(look);
        look();
        document.getElementById("which").value = "matching";
        [...document.querySelectorAll("#bulk button")].find((e) => e.innerText === "Drop").click();
        document.querySelector("#confirm [value=yes]").click();
    """)
    window.shows("#notice", "Stopped: ")
    window.shows("#notice", " of 30000 were tried.")
    store = await store_of(console)
    left = len(await store.dead(type=None, limit=50_000, after=""))
    await store.close()
    assert left > 0
    assert not window.run("return document.getElementById('work').checkVisibility()")


async def test_a_change_goes_on_to_its_end_over_a_reload(console: ConsolePages) -> None:
    await filled(console, "reload", 20_000)
    window = console.open("/dead?error=reload")
    window.run("""
        document.getElementById("which").value = "matching";
        [...document.querySelectorAll("#bulk button")].find((e) => e.innerText === "Drop").click();
        document.querySelector("#confirm [value=yes]").click();
    """)
    said = "return document.getElementById('notice').innerText"
    until(lambda: not window.run("return document.getElementById('work').hidden") or window.run(said), "it works")
    reloaded = await asyncio.to_thread(run, console.folder, "reload", "--force")
    assert reloaded.returncode == 0, reloaded.stdout + reloaded.stderr
    until(lambda: window.run(said), "it says what came of it", 60.0)
    assert window.run(said) == "Done: 20000 of 20000."
    assert names(console, "/dead?error=reload") == []


async def test_one_of_two_who_drop_the_same_is_told_that_it_is_gone(console: ConsolePages) -> None:
    await filled(console, "twice", 1)
    window = console.open("/dead/show?id=twice000000")
    async with httpx.AsyncClient() as other:
        dropped = await other.post(f"{console.url}/api/dead/drop", json={"ids": ["twice000000"]})
    assert '"changed": 1' in dropped.text
    window.run("[...document.querySelectorAll('main button')].find((e) => e.innerText === 'Drop').click()")
    window.run("document.querySelector('#confirm [value=yes]').click()")
    window.shows("#notice", "there is no dead letter 'twice000000'")


@contextlib.contextmanager
def three_devices(mqtt: int, name: str) -> Iterator[list[float]]:
    """Connect three devices, and yield the reasons with which the server has disconnected them."""
    reasons: list[float] = []
    devices = [paho.Client(CallbackAPIVersion.VERSION2, f"{name}-{n}", protocol=paho.MQTTv5) for n in range(3)]
    for each in devices:
        each.on_disconnect = lambda *told: reasons.append(told[3].value)
        each.connect("127.0.0.1", mqtt)
        each.loop_start()
    try:
        until(lambda: all(each.is_connected() for each in devices), "they are connected")
        yield reasons
    finally:
        for each in devices:
            each.disconnect()
            each.loop_stop()


def test_clients_are_disconnected_so_many_a_second(console: ConsolePages, mqtt: int) -> None:
    with three_devices(mqtt, "slow") as reasons:
        window = console.open("/clients?client_id=slow-*")
        window.run("""
            document.getElementById("rate").value = "1";
            document.getElementById("which").value = "matching";
            document.querySelector("#bulk [data-action]").click();
            document.querySelector("#confirm [value=yes]").click();
        """)
        window.shows("#notice", "Done: 3 of 3.")
        console.daemon.says("clients.disconnect by somebody from 127.0.0.1: 3")
        until(lambda: reasons == [0x98] * 3, lambda: str(reasons))


def test_clients_are_told_to_reconnect_so_many_a_second(console: ConsolePages, mqtt: int) -> None:
    with three_devices(mqtt, "again") as reasons:
        window = console.open("/reload")
        assert window.run("return [rate.min, rate.max, rate.value]") == ["1", "1000000", "500"]
        window.run("""
            window.said = [];
            new MutationObserver(() => said.push(notice.innerText))
                .observe(notice, {childList: true, characterData: true, subtree: true});
            const form = rate.form;
            form.check.checked = false;
            form.force.checked = form.reconnect.checked = true;
            rate.value = "1";
            form.querySelector("button").click();
        """)
        until(lambda: reasons == [0x98] * 3, lambda: str(reasons))
        until(lambda: "3 of 3 connections were told to reconnect." in window.run("return said"), "it says so")
        assert {"1 of 3 connections were told to reconnect.", "2 of 3 connections were told to reconnect."} & set(
            window.run("return said")
        ), "they are not all told at once"
        window.shows("#reloaded", "The file is reloaded.")


async def test_an_outgoing_item_has_a_page(console: ConsolePages) -> None:
    store = await store_of(console)
    await store.put_outgoing([outgoing("sent-page")])
    await store.close()
    window = console.open("/outgoing")
    console.is_sound("Outgoing")
    window.run("document.querySelector('tbody th a').click()")
    window.shows("main", "b@example.net")
    console.is_sound("Outgoing")


async def test_a_page_that_fails_is_a_page(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site() as here:
        await bury(here.store, message("m1"))
        monkeypatch.delattr(Operator, "history")
        answer = await here.get("/dead/show?id=m1")
        assert answer.status_code == 500
        assert answer.headers["content-type"].startswith("text/html")
        assert "AttributeError" in answer.text
