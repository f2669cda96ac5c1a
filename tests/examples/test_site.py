"""The example site, end to end: every protocol from its own client to a row, an answer and the page."""

import base64
import concurrent.futures
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from servers.programs import program
from servers.site import PATIENCE, ROOT, Site, running, until
from servers.site_visitor import event, letter, signed_in, write
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

# Posts. Tickets have a module of their own.


def test_mail_to_the_twitter_gateway_becomes_a_post(site: Site) -> None:
    with site.websocket("/live/") as live:
        write(site, letter("fay@post.example", "", "Hello, world"), to="me@twitter.example.org")
        assert event(live, "post", author="fay@post.example")["text"] == "Hello, world"
    assert site.rows("SELECT text FROM helpdesk_post WHERE author = ?", "fay@post.example") == [("Hello, world",)]


def test_a_post_that_is_too_long_is_refused_with_the_reason(site: Site) -> None:
    with pytest.raises(Exception, match="280 characters") as refused:
        write(site, letter("gus@post.example", "", "long " * 100), to="me@twitter.example.org")
    assert getattr(refused.value, "smtp_code", None) == 550
    assert not site.rows("SELECT id FROM helpdesk_post WHERE author = ?", "gus@post.example")


def test_mail_to_nobody_is_refused_before_its_text(site: Site) -> None:
    with pytest.raises(Exception, match="550"):
        write(site, letter("hal@nobody.example", "Hello"), to="hal@elsewhere.example")


# Temperatures.


def test_a_temperature_becomes_a_row_and_reaches_the_page(site: Site) -> None:
    with site.websocket("/live/") as live:
        site.publish("sensors/hall/temperature", '{"celsius": 21.5}')
        assert event(live, "reading", sensor="hall")["celsius"] == 21.5
        site.publish("sensors/hall/temperature", "-3")
        assert event(live, "reading", sensor="hall")["celsius"] == -3.0
    assert site.rows("SELECT celsius FROM helpdesk_reading WHERE sensor = 'hall' ORDER BY id") == [(21.5,), (-3.0,)]


def test_a_quiet_sensor_is_shown_beside_a_busy_one(site: Site) -> None:
    site.publish("sensors/quiet/temperature", "4")
    many = "\n".join(map(str, range(250)))
    client = [program("mosquitto_pub"), "-p", str(site.mqtt), "-q", "1", "-t", "sensors/busy/temperature", "-l"]
    subprocess.run(client, input=many, text=True, check=True, timeout=PATIENCE)
    until(lambda: site.rows("SELECT count(*) FROM helpdesk_reading WHERE sensor = 'busy'") == [(250,)], "all are rows")
    with site.websocket("/live/") as live:
        readings = json.loads(live.recv(timeout=PATIENCE))["data"]["reading"]
    assert [each["celsius"] for each in readings if each["sensor"] == "quiet"] == [4.0]
    assert [each["celsius"] for each in readings if each["sensor"] == "busy"] == list(range(50, 250))


@pytest.mark.parametrize(
    "payload", ["warm", "{}", "[]", "null", "true", '"21"', "NaN", "1e999", "-274", '{"celsius": {}}', "[" * 5000]
)
def test_what_is_no_temperature_is_acknowledged_and_ignored(site: Site, payload: str) -> None:
    site.publish("sensors/broken/temperature", payload)  # returns only with the PUBACK
    assert not site.rows("SELECT id FROM helpdesk_reading WHERE sensor = 'broken'")


def test_other_topics_are_not_readings(site: Site) -> None:
    site.publish("sensors/other/humidity", "21")
    site.publish("greeting", "hello")
    assert not site.rows("SELECT id FROM helpdesk_reading WHERE sensor = 'other'")


# Alarms.


def alarms(site: Site, sensor: str) -> tuple[list[str], list[str]]:
    """The mails and the texts about ``sensor`` that have left."""
    mails = [path.read_text() for path in (site.outbox / "new").glob("*") if f"Too hot: {sensor}" in path.read_text()]
    texts = [json.loads(path.read_bytes())["text"] for path in (site.folder / "var" / "texts").glob("*.json")]
    return mails, [text for text in texts if text.startswith(f"{sensor}:")]


def test_the_team_hears_once_that_it_is_too_hot_and_again_when_it_has_cooled_down_between(site: Site) -> None:
    for celsius in (29.5, 30.5, 35, 29.9, 30.5, 31):  # about the limit: one alarm
        site.publish("sensors/oven/temperature", str(celsius))
    until(lambda: [len(each) for each in alarms(site, "oven")] == [1, 1], "one mail and one text have left")
    mails, texts = alarms(site, "oven")
    assert "ops@example.org" in mails[0]
    assert texts == ["oven: 30.5 °C, the limit is 30 °C"]
    for celsius in (28.9, 30.1):
        site.publish("sensors/oven/temperature", str(celsius))
    until(lambda: [len(each) for each in alarms(site, "oven")] == [2, 2], "the second alarm has left")
    assert site.rows("SELECT celsius, ended_at IS NULL FROM helpdesk_alarm WHERE sensor = 'oven' ORDER BY id") == [
        (30.5, 0),
        (30.1, 1),
    ]


# Texts.


@pytest.mark.parametrize(
    ("sender", "handler", "word"),
    [
        ("+447700900123", "UKTextHandler", "London"),
        ("+12015550123", "USTextHandler", "Denver"),
        ("+33639980123", "UnknownTextHandler", "language"),
    ],
)
def test_a_text_is_answered_by_the_handler_of_its_country(site: Site, sender: str, handler: str, word: str) -> None:
    with site.websocket("/live/") as live:
        answered = site.sms("Are you open?", sender=sender, message_id=f"m-{sender}")
        assert event(live, "text", sender=sender)["handler"] == handler
    assert answered.status_code == 200
    [reply] = answered.json()["replies"]
    assert word in reply["text"]
    assert reply["to"] == sender


def test_who_asks_for_the_temperature_gets_the_newest(site: Site) -> None:
    for celsius in ("17", "18.5"):
        site.publish("sensors/attic/temperature", celsius)
    answered = site.sms(" Temp? ", sender="+447700900123", message_id="temp")
    assert "attic 18.5 °C" in answered.json()["replies"][0]["text"]
    assert site.rows("SELECT instr(answer, 'attic 18.5 °C') > 0 FROM helpdesk_text WHERE message_id = 'temp'") == [(1,)]


def test_a_text_that_is_sent_again_is_one_row_and_answered_again(site: Site) -> None:
    first, again = (site.sms("Hello?", sender="+447700900456", message_id="again") for _ in range(2))
    assert first.json() == again.json()
    assert site.rows("SELECT count(*) FROM helpdesk_text WHERE message_id = 'again'") == [(1,)]


def test_a_text_with_a_wrong_signature_is_nobody_s(site: Site) -> None:
    refused = site.sms("Hello?", sender="+447700900456", message_id="forged", key=b"guessed")
    assert refused.status_code == 403
    assert not site.rows("SELECT id FROM helpdesk_text WHERE message_id = 'forged'")


# Long polling and chat.


def test_a_long_poll_is_answered_by_what_happens_next(site: Site) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        poll = pool.submit(httpx.get, site.url("/longpoll/?timeout=20"), timeout=PATIENCE + 5)

        def poked() -> bool:
            site.publish("sensors/poll/temperature", "7")  # the poll hears what comes after it has begun
            return poll.done()

        until(poked, "the poll is answered")
    answer = poll.result().json()
    assert answer["kind"] == "reading"
    assert answer["data"]["sensor"] == "poll"


def test_a_long_poll_without_news_says_so(site: Site) -> None:
    answer = httpx.get(site.url("/longpoll/?timeout=0.05"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"kind": None, "data": None}


@pytest.mark.parametrize("timeout", ["soon", "-1", "nan"])
def test_a_long_poll_with_an_impossible_timeout_is_told_so(site: Site, timeout: str) -> None:
    assert httpx.get(site.url(f"/longpoll/?timeout={timeout}")).status_code == 400


def test_what_one_says_in_the_chat_all_hear_and_who_comes_later(site: Site) -> None:
    with site.websocket("/chat/") as ann, site.websocket("/chat/") as bob:
        bob.send("I am here")
        until(lambda: bob.recv(timeout=PATIENCE) == "I am here", "he is in the room")
        ann.send("Hello, Bob")
        assert bob.recv(timeout=PATIENCE) == "Hello, Bob"
    with site.websocket("/chat/") as cat:
        until(lambda: cat.recv(timeout=PATIENCE) == "I am here", "she gets what was said")
        assert cat.recv(timeout=PATIENCE) == "Hello, Bob"
        cat.send("Hello, all")
        assert cat.recv(timeout=PATIENCE) == "Hello, all"


def test_a_websocket_to_nowhere_is_refused(site: Site) -> None:
    with pytest.raises(Exception, match=r"40[34]"), site.websocket("/nowhere/"):
        pass


# Pages of others.


@pytest.mark.parametrize("path", ["/live/", "/chat/"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null", "127.0.0.1"])
def test_a_page_of_another_site_gets_no_websocket(site: Site, path: str, origin: str) -> None:
    address = f"ws://127.0.0.1:{site.http}{path}"
    with pytest.raises(Exception, match="403"), connect(address, origin=Origin(origin), open_timeout=PATIENCE):
        pass


@pytest.mark.parametrize("path", ["/live/", "/chat/"])
def test_our_own_page_gets_one(site: Site, path: str) -> None:
    own = Origin(f"http://localhost:{site.http}")
    with connect(f"ws://127.0.0.1:{site.http}{path}", origin=own, open_timeout=PATIENCE):
        pass


@pytest.mark.parametrize("path", ["/live/", "/chat/", "/longpoll/?timeout=0", "/"])
def test_a_name_that_somebody_else_points_at_us_is_not_ours(site: Site, path: str) -> None:
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    key = {"sec-websocket-key": base64.b64encode(bytes(16)).decode()}
    more = upgrade | key if path in ("/live/", "/chat/") else {}
    answer = httpx.get(site.url(path), headers={"host": "evil.example"} | more, timeout=PATIENCE)
    assert answer.status_code in (400, 403)


# Django.


def test_the_page_and_its_files_are_served(site: Site) -> None:
    page = httpx.get(site.url("/"))
    assert page.status_code == 200
    for path in ("page.css", "page.js"):
        assert f"/static/helpdesk/{path}" in page.text
        assert httpx.get(site.url(f"/static/helpdesk/{path}")).status_code == 200
    assert httpx.get(site.url("/nothing")).status_code == 404


def test_the_admin_lists_the_same_rows(site: Site) -> None:
    site.publish("sensors/attic/temperature", "30.5")
    site.sms("For the admin", sender="+447700900789", message_id="admin")
    write(site, letter("ida@admin.example", "For the admin"))
    with signed_in(site) as browser:
        assert "attic" in browser.get("/admin/helpdesk/reading/").text
        assert "For the admin" in browser.get("/admin/helpdesk/text/").text
        assert "ida@admin.example" in browser.get("/admin/helpdesk/ticket/").text
        [(number,)] = site.rows("SELECT id FROM helpdesk_ticket WHERE sender = ?", "ida@admin.example")
        assert "Where is it?" in browser.get(f"/admin/helpdesk/ticket/{number}/change/").text


@pytest.mark.parametrize(("environment", "code"), [({}, 2), ({"SITE_SECRET_KEY": "long and random"}, 0)])
def test_without_debug_it_wants_a_key_of_its_own(tmp_path: Path, environment: dict[str, str], code: int) -> None:
    site = Site(tmp_path)
    site.environment |= {"SITE_DEBUG": "0"} | environment
    told = site.python("-m", "gateway", "check")
    assert told.returncode == code, told.stderr
    assert ("SECRET_KEY" in told.stdout + told.stderr) == bool(code)


def test_behind_a_proxy_that_speaks_tls_one_can_sign_in(tmp_path: Path, tables: Path) -> None:
    server = {"SITE_DEBUG": "0", "SITE_SECRET_KEY": "long and random", "SITE_HOSTS": "helpdesk.example.org"}
    with running(tmp_path, tables, **server) as site, httpx.Client(base_url=site.url(""), timeout=PATIENCE) as browser:
        public = {"host": "helpdesk.example.org", "origin": "https://helpdesk.example.org"}
        token = browser.get("/admin/login/", headers=public).cookies["csrftoken"]
        form = {"username": "ann", "password": "secret-ann", "csrfmiddlewaretoken": token}
        sent = public | {"cookie": f"csrftoken={token}"}
        answer = browser.post("/admin/login/?next=/admin/", data=form, headers=sent)
        assert answer.status_code == 302, answer.text
        assert "Secure" in answer.headers["set-cookie"]
        assert browser.get("/admin/login/").status_code == 400  # 127.0.0.1 is not its name


@pytest.mark.parametrize("path", ["/docs/", "/docs/images/page.png"])
def test_the_documentation(site: Site, path: str) -> None:
    assert httpx.get(site.url(path), timeout=PATIENCE).status_code == 200
    assert httpx.get(site.url("/docs/../pyproject.toml"), timeout=PATIENCE).status_code == 404


# What it says.


def blocks(language: str) -> list[list[str]]:
    """The README's blocks of that language, each as its lines."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in found]


def words(line: str) -> str:
    """A line without the width of its columns: ports differ in length."""
    return " ".join(line.split())


def test_it_starts_with_what_the_readme_shows(site: Site) -> None:
    text = [line.replace(".venv/bin/gateway", "gateway") for line in blocks("text")[0]]  # as `make run` has called it
    shown = [words(site.at_its_addresses(line)) for line in text]
    until(lambda: len(site.output().splitlines()) >= len(shown), site.output)  # it listens before it says so
    said = [words(line) for line in site.output().splitlines()]
    assert said[: len(shown)] == shown


def test_a_mistake_is_told_as_the_readme_shows(site: Site) -> None:
    wrong = site.config.read_text().replace(f"bind: 127.0.0.1:{site.mqtt}", "bnid: 127.0.0.1:1883")
    (site.folder / "wrong").mkdir()
    (site.folder / "wrong" / "gateway.yaml").write_text(wrong)
    told = site.python("-m", "gateway", "check", "-c", "wrong/gateway.yaml")
    assert told.returncode == 2
    shown = [site.at_its_addresses(line).replace("gateway.yaml:", "wrong/gateway.yaml:") for line in blocks("text")[1]]
    assert (told.stdout + told.stderr).replace(":1883", f":{site.mqtt}").splitlines() == shown


# The end.


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(own_site: Site) -> None:
    site = own_site
    client = httpx.Client(timeout=PATIENCE)
    with client, site.websocket("/live/") as live, concurrent.futures.ThreadPoolExecutor() as pool:
        live.recv(timeout=PATIENCE)
        client.get(site.url("/"))  # connects, so that the next one is only a line to send
        poll = pool.submit(client.get, site.url("/longpoll/?timeout=2"))
        time.sleep(0.5)  # until the poll has begun: nothing outside tells
        assert site.signal(signal.SIGTERM) == 0
        assert poll.result().status_code == 200
        with pytest.raises(ConnectionClosed):
            while True:
                live.recv(timeout=PATIENCE)
        assert live.close_code in (1001, 1012)
    assert "Traceback" not in site.output()


def test_nothing_of_all_this_left_a_traceback(site: Site) -> None:
    """Last in this module on purpose: it reads the log that the tests above have made."""
    output = site.output()
    assert "Traceback" not in output
    for secret in ("dev-secret", "secret-ann", "Where is it?", "Are you open?"):
        assert secret not in output
