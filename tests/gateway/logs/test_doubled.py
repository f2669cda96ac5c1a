"""A record is one line, whatever handlers a library has given its logger."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from gateway.config.settings import LogSettings
from gateway.logs import setup

NAME = "a_library"


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def configured(form: str) -> io.StringIO:
    stream = io.StringIO()
    setup.configure(LogSettings(format=form, timestamps=False), stream)
    return stream


def test_what_the_librarys_console_has_written_is_not_written_again(
    library: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Django under DEBUG, and engineio."""
    ours = configured("text")
    library.addHandler(logging.StreamHandler())
    logging.getLogger(f"{NAME}.request").error("Internal Server Error: /")
    assert (capsys.readouterr().err, ours.getvalue()) == ("Internal Server Error: /\n", "")


@pytest.mark.parametrize("why", ["level", "filter", "file", "none"])
def test_what_it_has_not_written_there_is_ours(
    why: str, library: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Django without DEBUG has a console, too, whose filter lets nothing pass."""
    ours = configured("text")
    handler = logging.StreamHandler(io.StringIO() if why == "file" else sys.stderr)
    if why == "level":
        handler.setLevel(logging.CRITICAL)
    if why == "filter":
        handler.addFilter(lambda record: False)
    if why != "none":
        library.addHandler(handler)
    library.error("failed")
    assert (capsys.readouterr().err, ours.getvalue()) == ("", "ERROR   failed\n")


def test_a_logger_that_does_not_propagate_has_its_own_way(
    library: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = configured("text")
    library.propagate = False
    library.addHandler(logging.StreamHandler())
    library.error("failed")
    assert (capsys.readouterr().err, ours.getvalue()) == ("failed\n", "")


def test_as_json_every_line_is_ours(library: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """The handler is found with its first record, and writes no more."""
    ours = configured("json")
    library.addHandler(logging.StreamHandler())
    for number in range(3):
        library.error("failed %d", number)
    assert [json.loads(line)["message"] for line in ours.getvalue().splitlines()] == [
        "failed 0",
        "failed 1",
        "failed 2",
    ]
    assert capsys.readouterr().err == "failed 0\n"
