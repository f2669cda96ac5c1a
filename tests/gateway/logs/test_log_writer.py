"""Records are written in their order, and nobody waits for a pipe that is not read."""

import contextlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest

from gateway.config.settings import LogSettings
from gateway.logs import setup, writer
from gateway.logs.stream import Stream
from gateway.logs.writer import Writer

LINE = b"x" * 99 + b"\n"


Begin = Callable[[Any], Writer]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Return what makes a writer, which ends with the test."""
    made: list[Writer] = []

    def of(stream: Any) -> Writer:
        made.append(Writer(Stream(stream)))
        return made[-1]

    yield of
    for each in made:
        each.close(0)


@pytest.fixture
def pipe(begin: Begin) -> Iterator[tuple[int, TextIO]]:
    """It is closed before the writers end: one may wait for it."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError), os.fdopen(writing, "w") as stream:
        yield reading, stream
    with contextlib.suppress(OSError):
        os.close(reading)


def read(reading: int, end: bytes) -> bytes:
    found = b""
    while end not in found:
        found += os.read(reading, 65536)
    return found


def test_a_record_is_in_the_pipe_when_its_logger_goes_on(begin: Begin, pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    here = begin(stream)
    here.write(LINE)
    assert os.read(reading, 65536) == LINE
    assert here._thread is None, "no thread is started for a pipe that is read"


def test_a_pipe_that_is_not_read_holds_nobody_up_and_loses_nothing_up_to_a_bound(
    begin: Begin, pipe: tuple[int, TextIO]
) -> None:
    reading, stream = pipe
    here = begin(stream)
    for number in range(5000):
        here.write(b"%99d\n" % number)
    here.write(b"y" * 20_000 + b"\n")
    assert here.lost == 0
    found = read(reading, b"y\n")
    assert [int(line) for line in found.splitlines()[:-1]] == list(range(5000))
    assert found.splitlines()[-1] == b"y" * 20_000


def test_beyond_the_bound_records_are_counted_and_the_count_is_where_they_are_missing(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST", 100_000)
    reading, stream = pipe
    setup.configure(LogSettings(timestamps=False), stream)
    logger = logging.getLogger("shop")
    for number in range(5000):
        logger.info("%99d", number)
    lost = setup.lost()
    assert 0 < lost < 5000
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(read(reading, b"the end\n").splitlines()))
    reader.start()
    here = next(iter(setup._log._writers.values()))
    until_written(here)
    logger.info("again")
    logger.info("the end")
    reader.join(20)
    numbers = [int(line.split()[-1]) for line in lines[:-3]]
    assert numbers == list(range(5000 - lost)), "the oldest are there, in their order"
    assert lines[-3] == b"WARNING %d records of the log were lost here, because they could not be written" % lost
    assert [line.split(maxsplit=1)[1] for line in lines[-2:]] == [b"again", b"the end"]
    assert setup.lost() == lost


def until_written(here: Writer) -> None:
    here.flush(20)
    assert here.has_room()


def test_a_pipe_without_a_reader_takes_what_is_written(begin: Begin, pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    os.close(reading)
    here = begin(stream)
    here.write(LINE)
    here.write(LINE)
    assert here.lost == 2


def test_a_process_that_is_forked_writes_by_itself(begin: Begin, pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    here = begin(stream)
    while here._thread is None:  # the parent's thread is busy, and is not in the child
        here.write(LINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what Python 3.12 thinks of forks beside threads
        child = os.fork()
    if not child:
        here.write(b"from the child\n")
        os._exit(0)
    assert b"\nfrom the child\n" in read(reading, b"from the child\n")
    os.waitpid(child, 0)


def test_a_stream_without_a_descriptor_is_written_as_text(begin: Begin) -> None:
    stream = io.StringIO()
    begin(stream).write("höre\n".encode())
    assert stream.getvalue() == "höre\n"
