"""What the daemon writes to standard error."""

import io
import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from gateway.config.settings import LogSettings
from gateway.consumers.failure import failed_with
from gateway.delivery.current_event import current_event
from gateway.logs import setup
from gateway.routing import current_route

SCOPE = {"type": "email", "mail_from": "ann@example.net", "rcpt_to": ["help@example.org"], "listener": "mail"}
HANDLER = """
def handle(message):
    return message["order"]
"""


@pytest.fixture
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """A handler's KeyError, raised in the user's own file."""
    (tmp_path / "shop_handlers.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import shop_handlers  # type: ignore[import-not-found]  # just written

    with pytest.raises(KeyError) as caught:
        shop_handlers.handle({})
    return caught.value


def written(error: BaseException | None = None, message: str = "email ann -> help", **settings: Any) -> str:
    stream = io.StringIO()
    setup.configure(LogSettings(**{"timestamps": False, **settings}), stream)
    logging.getLogger("protocols.app_run").error("%s", message, exc_info=error, extra={"scope": SCOPE})
    return stream.getvalue()


@pytest.mark.parametrize("name", ["access", "arrival", "facts", "scope", "server"])
@pytest.mark.parametrize("value", ["x", 3, {"peer": 5}, {"type": []}], ids=str)
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_an_application_adds_to_its_own_record_is_left_out(
    form: Literal["text", "json"], name: str, value: Any
) -> None:
    stream = io.StringIO()
    setup.configure(LogSettings(format=form, timestamps=False), stream)
    logging.getLogger("shop").error("the order is here", extra={name: value})
    if form == "json":
        record = json.loads(stream.getvalue())
        assert (record.keys(), record["message"]) == ({"time", "level", "logger", "message"}, "the order is here")
    else:
        assert stream.getvalue() == "ERROR   the order is here\n"


def test_a_crash_is_its_scope_its_route_and_the_users_own_line(crash: BaseException) -> None:
    token = current_route.set("@example.org -> shop_handlers.handle")
    text = written(crash)
    current_route.reset(token)
    assert text == (
        "ERROR   email ann -> help -> shop_handlers.handle: KeyError 'order'\n"
        '        shop_handlers.py:3  return message["order"]\n'
    )


def test_a_crash_without_the_users_own_code_has_its_place_nevertheless() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    caught.value.__traceback__ = caught.value.__traceback__.tb_next
    _, place = written(caught.value).splitlines()
    assert "json/decoder.py:" in place


@pytest.mark.parametrize("settings", [{"tracebacks": "full"}, {"level": "debug"}])
def test_every_frame_where_asked_for(crash: BaseException, settings: dict[str, str]) -> None:
    assert "Traceback (most recent call last):" in written(crash, **settings)


def test_json(crash: BaseException) -> None:
    token = current_route.set("default -> shop_handlers.handle")
    record = json.loads(written(crash, format="json"))
    current_route.reset(token)
    assert record["time"].endswith("+00:00")
    assert record["level"] == "error"
    assert record["logger"] == "protocols.app_run"
    assert record["message"] == "email ann -> help"
    assert (record["route"], record["target"]) == ("default", "shop_handlers.handle")
    assert (record["scope"], record["server"]) == ("email", "mail")
    assert record["error"] == "KeyError 'order'"
    assert record["traceback"].startswith("Traceback")


NASTY = "x\nERROR   y\r\t\x1b[2J\x7f\x9b\u200e\u2028\u2029\u202e\u2066\u061c\ufeff\udc80\U000e0041"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("tracebacks", ["short", "full"])
def test_a_peer_can_neither_forge_a_line_nor_write_on_the_terminal(form: str, tracebacks: str) -> None:
    """Neither by what the record says, nor by what its handler's exception does."""
    token = current_event.set("lg6a7hbndv6p")
    text = written(ValueError(NASTY), message=NASTY, format=form, tracebacks=tracebacks)
    current_event.reset(token)
    lines = text.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines), text
    assert not any(line.startswith("ERROR   y") for line in lines)
    if form == "json":
        assert json.loads(text)["message"] == NASTY


def test_what_people_write_is_not_escaped() -> None:
    said = "Grüße, 東京 \u3000\xa0 \N{FAMILY} \N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u0645\u06cc\u200c\u062e"
    assert said in written(message=said)
    assert said in written(message=said, format="json")


def test_a_line_begins_with_the_time_and_its_zone() -> None:
    [stamp, rest] = written(timestamps=None).rstrip("\n").split(" ", 1)
    assert datetime.fromisoformat(stamp).utcoffset() is not None
    assert abs(datetime.now(UTC) - datetime.fromisoformat(stamp)) < timedelta(minutes=1)
    assert rest == "ERROR   email ann -> help"


@pytest.mark.parametrize(("wish", "stamped"), [(None, False), (True, True)])
def test_the_journal_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wish: bool, stamped: bool) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        facts = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
        setup.configure(LogSettings(timestamps=wish), journal)
        logging.getLogger("shop").error("sold out")
        journal.seek(0)
        assert (journal.read() != "ERROR   sold out\n") == stamped


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_call_that_fails_is_one_line_too(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    setup.configure(LogSettings(format=form, timestamps=False), stream)
    logging.getLogger("shop").info("%d sold", "many")
    [line] = stream.getvalue().splitlines()
    assert "test_logs.py:" in line
    assert "TypeError" in line
    assert (json.loads(line)["level"] if form == "json" else line[:5]) == ("error" if form == "json" else "ERROR")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_line_of_a_handler_of_devices_names_the_topic(crash: BaseException, form: str) -> None:
    failed_with(crash, "sensors/1/temperature")
    text = written(crash, message="mqtt thermometer-1", format=form)
    if form == "json":
        assert json.loads(text)["what"] == "sensors/1/temperature"
    else:
        assert text.startswith("ERROR   mqtt thermometer-1 sensors/1/temperature: KeyError 'order'\n")


def test_the_level() -> None:
    assert written(level="error")
    stream = io.StringIO()
    setup.configure(LogSettings(level="warning"), stream)
    logging.getLogger("gateway").info("not this")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["aiohttp.access", "mail.log", "aioimaplib.aioimaplib"])
def test_libraries_are_quiet(name: str) -> None:
    stream = io.StringIO()
    setup.configure(LogSettings(level="debug"), stream)
    logging.getLogger(name).info("LOGIN ann hunter2")
    logging.getLogger(name).debug("LOGIN ann hunter2")
    assert stream.getvalue() == ""
    logging.getLogger(name).warning("the connection is lost")
    assert "lost" in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_record_of_a_handler_has_the_id_of_its_message(form: str) -> None:
    stream = io.StringIO()
    setup.configure(LogSettings(format=form), stream)
    token = current_event.set("lg6a7hbndv6p")
    logging.getLogger("shop").info("the customer is known")
    current_event.reset(token)
    logging.getLogger("shop").info("nobody's")
    first, second = stream.getvalue().splitlines()
    assert "lg6a7hbndv6p" in first
    assert "lg6a7hbndv6p" not in second
    if form == "json":
        assert json.loads(first)["event_id"] == "lg6a7hbndv6p"


def test_what_failed_says_when_it_is_tried_again_and_where_to_look(crash: BaseException) -> None:
    stream = io.StringIO()
    setup.configure(LogSettings(timestamps=False), stream)
    token = current_event.set("lg6a7hbndv6p")
    extra = {"scope": SCOPE, "note": "attempt 2 of 5, next in 30 s", "kept": True}
    logging.getLogger("gateway.delivery.guard").error("email ann -> help", exc_info=crash, extra=extra)
    current_event.reset(token)
    head, line, advice = stream.getvalue().splitlines()
    assert head == "ERROR   lg6a7hbndv6p email ann -> help: KeyError 'order' (attempt 2 of 5, next in 30 s)"
    assert line.endswith('shop_handlers.py:3  return message["order"]')
    assert advice == "        kept; gateway show lg6a7hbndv6p"
