"""A line for each arrival, in columns; the time and the colours with which lines begin on a terminal and elsewhere."""

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TextIO

import pytest

from gateway.arrivals import Arrival
from gateway.config.settings import LogSettings
from gateway.logs import arrivals, setup

REQUEST = Arrival(
    time=1700000000.0,
    type="http",
    event="http.request",
    server="web",
    id="lg6a7hbndv6p",
    who="127.0.0.1:51234",
    what="GET /",
    route="^",
    target="shop.home",
    verdict="200",
    seconds=0.00132,
)
TEXT = replace(REQUEST, type="sms", who="+447700900123", what="+15005550006", route="+44", verdict="accepted")


def lines(*logged: Arrival, stream: TextIO | None = None, **settings: Any) -> list[str]:
    written = io.StringIO() if stream is None else stream
    setup.configure(LogSettings(**{"timestamps": False, "arrivals": True, **settings}), written)
    for each in logged:
        arrivals.log(each)
    return written.getvalue().splitlines() if isinstance(written, io.StringIO) else []


def test_columns_are_as_wide_as_their_widest_cell_so_far() -> None:
    first, second, third = lines(REQUEST, TEXT, REQUEST)
    assert first == "http  lg6a7hbndv6p  127.0.0.1:51234 -> GET /  ^ -> shop.home  200      1.3 ms"
    assert second == "sms   lg6a7hbndv6p  +447700900123 -> +15005550006  +44 -> shop.home  accepted      1.3 ms"
    assert third == "http  lg6a7hbndv6p  127.0.0.1:51234 -> GET /       ^ -> shop.home    200           1.3 ms"


def test_what_is_missing_and_what_failed() -> None:
    nobody = replace(REQUEST, route="", target="", id="", verdict="404")
    crashed = replace(REQUEST, verdict="500", error="KeyError 'order'", seconds=2.0)
    again = replace(REQUEST, verdict="next in 30 s", attempt=2)
    said = [re.sub(" {2,}", "  ", line) for line in lines(nobody, crashed, again)]
    assert said[0] == "http  -  127.0.0.1:51234 -> GET /  -  404  1.3 ms"
    assert said[1].endswith("^ -> shop.home  500  2000 ms  KeyError 'order'")
    assert said[2].endswith("next in 30 s (attempt 2)  1.3 ms")


def test_a_peer_can_neither_forge_a_line_nor_push_the_columns_away() -> None:
    nasty = replace(REQUEST, what="GET /\nhttp\x1b[2J" + "x" * 5000, error="E\n\x9b")
    [line, after] = lines(nasty, REQUEST)
    assert line.isprintable()
    assert len(line) < 400
    assert len(after) < 130


def test_json_has_the_facts_and_no_content() -> None:
    [line] = lines(replace(REQUEST, scope={"headers": [b"secret"]}, events=[{"body": b"secret"}]), format="json")
    record = json.loads(line)
    assert record["message"] == "http 127.0.0.1:51234 -> GET /: 200"
    assert (record["route"], record["target"], record["peer"]) == ("^", "shop.home", "127.0.0.1:51234")
    assert record["duration"] == 0.00132
    assert "secret" not in line


def test_servers_do_not_say_the_same_again() -> None:
    stream = io.StringIO()
    for wished in (True, False):
        setup.configure(LogSettings(arrivals=wished), stream)
        logging.getLogger("protocols.mail.traffic").info("accepted")
    assert stream.getvalue().count("accepted") == 1


@contextlib.contextmanager
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A stream that is a terminal, and what reads there."""
    reader, writer = os.openpty()
    with open(writer, "w", closefd=True) as stream:
        yield stream, reader
    os.close(reader)


def on_a_terminal(*logged: Arrival, **settings: Any) -> str:
    with terminal() as (stream, reader):
        lines(*logged, stream=stream, **settings)
        logging.getLogger("shop").error("sold out\x1b[2J")
        said = ""
        while "sold out" not in said:
            said += os.read(reader, 65536).decode()
        return said


def test_a_terminal_has_colours_and_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    arrived, failed = on_a_terminal(REQUEST, timestamps=None).splitlines()
    assert re.match(r"\x1b\[2m\d\d:\d\d:\d\d\.000 \x1b\[0mhttp ", arrived)
    assert "\x1b[32m200\x1b[0m" in arrived
    assert re.match(r"\x1b\[2m\d\d:\d\d:\d\d\.\d{3} \x1b\[0m\x1b\[31mERROR  \x1b\[0m sold out\\x1b\[2J$", failed)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_a_terminal(REQUEST)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in on_a_terminal(REQUEST)


def test_everywhere_else_lines_have_the_whole_time_and_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    [line] = lines(REQUEST, timestamps=None)
    assert re.match(r"2023-11-1\dT\d\d:\d\d:\d\d\.000[+-]\d\d:\d\d http ", line)
    assert "\x1b" not in line
