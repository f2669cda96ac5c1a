"""What all commands share: the choice of the file, and printing."""

import contextlib
import io
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from gateway.config_file import DEFAULT_FILE, config_file
from gateway.logs.escaping import json_text, visible

_STDERR = 2
SERVED = "gateway serve"
"""What messages call the file that `gateway serve` does without."""


class Chosen:
    """The options that hold for the whole command line."""

    file: str | None = None
    """The FILE of ``gateway -c FILE COMMAND``."""
    as_json = False
    """Whether the command prints JSON, even if the file has mistakes."""


def file_of(given: str | None) -> str:
    return config_file(given or Chosen.file)


def command_of(given: str | None) -> str:
    """Return the command that calls the gateway again with the same file."""
    file = file_of(given)
    return _called() if file == config_file() == DEFAULT_FILE else f"{_called()} -c {shlex.quote(file)}"


def _called() -> str:
    """Return ``gateway``, or its path, such as ``.venv/bin/gateway``, if the shell would not find that name."""
    name = sys.argv[0]
    return name if Path(name).name == "gateway" and shutil.which("gateway") is None else "gateway"


def prepare_standard_streams() -> None:
    """Open closed standard streams on the null device: otherwise the first socket would get the number of one, and
    with it what a library writes there. Characters that their encoding lacks are written as escapes."""
    while (free := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(free)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_text(text: str) -> None:
    """Print a line or several on standard output. Control characters in it are shown as escapes."""
    _write(f"{visible(text)}\n", sys.stdout)


def print_error(text: str) -> None:
    """Print a line or several on standard error. Control characters in it are shown as escapes."""
    _write(f"{visible(text)}\n", sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    stream.write(text)
    stream.flush()


def print_json(data: Any) -> None:
    print_text(_json(data))


async def print_list(items: AsyncIterator[dict[str, Any]]) -> None:
    """Print a list as one JSON document, with no more than one item in memory."""
    before = "["
    async for item in items:
        print_text(before)
        _write(_json(item), sys.stdout)
        before = ","
    print_text("[]" if before == "[" else "\n]")


def _json(data: Any) -> str:
    return json_text(data, indent=2, ascii_only=not (sys.stdout.encoding or "").lower().startswith("utf"))


def fail(message: str, code: int) -> NoReturn:
    print_error(message)
    sys.exit(code)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on a terminal, and nothing elsewhere. Call the result with the number of items done since."""
    from rich.console import Console  # not light, and most commands show no bar
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


@contextlib.contextmanager
def moving_progress(what: str) -> Iterator[Callable[[int, int], object]]:
    """The same if the total is known only later: call the result with the number that is done, and the total."""
    with progress(what, 100) as advance:
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // max(1, total)
            advance(percent - shown)
            shown = percent

        yield show
