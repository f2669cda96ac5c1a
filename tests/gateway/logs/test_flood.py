"""A flood of bad input is not one of log lines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.config.settings import LogSettings
from gateway.logs import rate_limit, setup
from gateway.logs.rate_limit import RateLimit
from protocols.lazy_names import LazyMapping

PEER = logging.getLogger("protocols.sms.webhook")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(setup, "RateLimit", lambda: RateLimit(clock))
    return clock


def written(times: int, stream: io.StringIO, logger: logging.Logger = PEER, level: int = logging.WARNING) -> list[str]:
    before = len(stream.getvalue())
    for number in range(times):
        logger.log(level, "sms texts: no %s", number)
    return stream.getvalue()[before:].splitlines()


def configured(**settings: str) -> io.StringIO:
    stream = io.StringIO()
    setup.configure(LogSettings(**{"timestamps": False, **settings}), stream)
    return stream


def test_the_first_lines_are_written_and_the_rest_is_counted(clock: Clock) -> None:
    stream = configured()
    lines = written(100_000, stream)
    assert len(lines) == rate_limit.MOST
    assert lines[-2] == "WARNING sms texts: no 98"
    assert lines[-1] == "WARNING sms texts: no 99 (more like it within 10 s are only counted)"
    clock.now += rate_limit.PERIOD
    assert written(2, stream) == [
        "WARNING sms texts: no 0 (99900 lines like it were left out)",
        "WARNING sms texts: no 1",
    ]
    clock.now += rate_limit.PERIOD
    assert written(1, stream) == ["WARNING sms texts: no 0"]


def test_a_flood_hides_no_line_of_another_kind(clock: Clock) -> None:
    stream = configured()
    written(1000, stream)
    PEER.warning("another")
    assert written(1, stream, logging.getLogger("protocols.mqtt.connection.client_connection")) == [
        "WARNING sms texts: no 0"
    ]
    assert "WARNING another\n" in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("protocols.app_run", logging.ERROR),
        ("protocols.http.access", logging.INFO),
        ("protocols.mail.traffic", logging.INFO),
        ("protocols.mail.imap.session", logging.WARNING),
        ("gateway.delivery.outbox", logging.WARNING),
        ("shop.handlers", logging.INFO),
    ],
)
def test_crashes_accounts_and_the_users_own_lines_are_all_written(clock: Clock, name: str, level: int) -> None:
    assert len(written(1000, configured(), logging.getLogger(name), level)) == 1000


def test_what_is_lost_is_said_each_time(clock: Clock) -> None:
    stream = configured()
    written(1000, stream)
    for number in range(1000):
        PEER.warning("accepted and dropped: %s", number, extra={"lost": True})
    assert stream.getvalue().count("accepted and dropped") == 1000


def test_at_level_debug_everything_is() -> None:
    assert len(written(1000, configured(level="debug"))) == 1000


def test_in_json_it_is_a_field(clock: Clock) -> None:
    lines = written(1000, configured(format="json"))
    assert json.loads(lines[-1])["flood"] == "more like it within 10 s are only counted"
    assert "flood" not in json.loads(lines[0])


def test_lines_of_a_plugin_are_limited_and_its_accounts_are_not(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("PagerKind", (), {"__module__": "gateway_pager.kind"})()
    monkeypatch.setattr(rate_limit, "KINDS", LazyMapping((), str, {"pager": kind}))
    stream = configured(level="info")
    assert len(written(1000, stream, logging.getLogger("gateway_pager.server"))) == rate_limit.MOST
    assert len(written(1000, stream, logging.getLogger("gateway_pager.traffic"))) == 1000
    assert len(written(1000, stream, logging.getLogger("gateway_pagers"))) == 1000
