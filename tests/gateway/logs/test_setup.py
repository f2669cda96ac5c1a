"""The log is set up a second time by other settings, as a reload does, and at once."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import LogSettings
from gateway.logs import setup

SHOP = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A log of its own, without what earlier tests have set up."""
    root, level = logging.getLogger(), logging.getLogger().level
    before = root.handlers[:]
    monkeypatch.setattr(setup, "_log", setup._Log())
    yield
    configured(io.StringIO())
    root.handlers[:] = before
    root.setLevel(level)


def configured(stream: io.StringIO, **settings: Any) -> None:
    setup.configure(LogSettings(**{"timestamps": False, **settings}), stream, to_files=True)


def said(path: Path) -> list[str]:
    for handler in logging.getLogger().handlers:
        handler.flush()
    return path.read_text().splitlines()


def test_another_file_another_format_another_level(tmp_path: Path) -> None:
    one, two, stream = tmp_path / "one", tmp_path / "two", io.StringIO()
    configured(stream, file=str(one))
    setup.started()
    SHOP.info("a")
    SHOP.debug("not written")
    configured(stream, file=str(one), level="debug")
    SHOP.debug("b")
    configured(stream, file=str(one), format="json")
    SHOP.info("c")
    SHOP.debug("not written")
    configured(stream, file=str(two))
    SHOP.info("d")
    configured(stream)
    SHOP.info("e")
    assert said(one)[:2] == ["INFO    a", "DEBUG   b"]
    assert json.loads(said(one)[2])["message"] == "c"
    assert len(said(one)) == 3
    assert said(two) == ["INFO    d"]
    assert stream.getvalue() == "INFO    e\n"
    assert len(logging.getLogger().handlers) == 1


def test_the_same_settings_again_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log"
    for number in range(50):
        configured(io.StringIO(), file=str(file))
        SHOP.info("%d", number)
    assert said(file) == [f"INFO    {number}" for number in range(50)]


def test_levels_of_single_loggers_and_how_they_end() -> None:
    stream = io.StringIO()
    configured(stream, levels={"shop": "debug", "shop.stock": "error", "aiohttp": "info"})
    for name in ("shop.orders", "shop.stock", "other", "aiohttp.access"):
        logging.getLogger(name).info("said by %s", name)
        logging.getLogger(name).debug("whispered by %s", name)
    assert stream.getvalue().splitlines() == [
        "INFO    said by shop.orders",
        "DEBUG   whispered by shop.orders",
        "INFO    said by other",
        "INFO    said by aiohttp.access",
    ]
    configured(stream)
    assert logging.getLogger("shop").level == logging.getLogger("shop.stock").level == logging.NOTSET
    assert logging.getLogger("aiohttp").level == logging.WARNING


def test_a_level_is_changed_until_the_next_reload() -> None:
    stream = io.StringIO()
    configured(stream, levels={"shop": "error"})
    setup.change_level("shop", "debug")
    setup.change_level("", "error")
    SHOP.debug("seen")
    logging.getLogger("other").warning("not seen")
    configured(stream, levels={"shop": "error"})
    SHOP.debug("not seen")
    logging.getLogger("other").info("seen again")
    assert stream.getvalue() == "DEBUG   seen\nINFO    seen again\n"


def test_a_level_that_the_application_sets_stays() -> None:
    configured(io.StringIO(), levels={"shop": "error"})
    logging.getLogger("shop").setLevel(logging.CRITICAL)
    configured(io.StringIO())
    assert logging.getLogger("shop").level == logging.CRITICAL
    logging.getLogger("shop").setLevel(logging.NOTSET)


def test_a_logger_at_level_debug_says_everything() -> None:
    stream = io.StringIO()
    peer = logging.getLogger("protocols.sms.webhook")
    configured(stream, levels={peer.name: "debug"})
    for number in range(300):
        peer.info("text %d", number)
    assert stream.getvalue().count("text") == 300


def test_standard_error_hears_of_a_start_that_fails_and_is_left_alone_afterwards(tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "log"
    configured(stream, file=str(file))
    SHOP.info("for the file")
    SHOP.error("for both")
    setup.started()
    SHOP.error("for the file again")
    assert said(file) == ["INFO    for the file", "ERROR   for both", "ERROR   for the file again"]
    assert stream.getvalue() == "ERROR   for both\n"


def test_what_a_library_writes_by_a_handler_of_its_own_is_in_the_file(tmp_path: Path) -> None:
    own, file = logging.StreamHandler(sys.stderr), tmp_path / "log"
    SHOP.addHandler(own)
    try:
        configured(io.StringIO(), file=str(file))
        setup.started()
        SHOP.warning("said once")
        assert said(file) == ["WARNING said once"]
    finally:
        SHOP.removeHandler(own)


def test_a_flood_is_one_in_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "log"
    configured(io.StringIO(), file=str(file))
    for number in range(1000):
        logging.getLogger("protocols.sms.webhook").warning("no %d", number)
    assert len(said(file)) == 100


def test_nothing_but_a_daemon_writes_to_the_file(tmp_path: Path) -> None:
    setup.configure(LogSettings(file=str(tmp_path / "log")), io.StringIO())
    SHOP.error("of a command")
    assert not (tmp_path / "log").exists()
