"""`gateway record`: what arrives at the running gateway, whole, in a file for `gateway replay`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.options import File
from gateway.cli.running import control_places
from gateway.cli.terminal import fail, print_error
from gateway.config.diagnostics import count
from gateway.control.client import LOOK, Conversation
from gateway.exit_codes import MISTAKE
from gateway.recording.entry import Entry
from gateway.recording.file import Full, Writer
from protocols.units import parse_duration, parse_size

LEAST = 1024
"""Bytes that a file has to have room for: the line about itself, and something that arrives."""
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long, such as 90s, 10m, 1h.")]
Size = Annotated[str, typer.Option("--size", metavar="SIZE", help="The most that the file may have, such as 10MiB.")]


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file. Only you may read it.")],
    config: File = None,
    seconds: For = "1h",
    size: Size = "100MiB",
) -> None:
    """Write what arrives at the running gateway into a file, whole, until the time is over or Ctrl+C.

    Logins, cookies, passwords, tokens and signatures are left out. The rest is people's mail and texts: keep it safe.

    Example: gateway record monday.jsonl --for 10m && gateway replay monday.jsonl
    """
    path = file.absolute()
    recorder = _Recorder(_parsed(parse_duration, "--for", seconds))
    most = _parsed(parse_size, "--size", size)
    if most < LEAST:
        raise typer.BadParameter(f"{size} is too small for a recording; write 1KiB or more", param_hint="--size")
    try:
        with (
            Conversation(control_places(config), {"do": "record"}) as conversation,
            _opened(file, path, most) as writer,
        ):
            why = recorder.copy(conversation, writer)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}", 1)
    print_error(f"{count(recorder.written, 'arrival')} in {file}{why}")
    if recorder.missed:
        missed = count(recorder.missed, "arrival")
        print_error(f"{missed} missed: too large, or they came faster than they could be written")


class _Recorder:
    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._has_begun = False
        self.written = 0
        self.missed = 0

    def copy(self, conversation: Conversation, writer: Writer) -> str:
        """Write the entries. Return why it ended, if that is worth a word."""
        try:
            while len(conversation) and (left := self._ends - time.monotonic()) > 0:
                for answer in conversation.answers(min(LOOK, left)):
                    self._take(answer, writer)
                conversation.join()  # a new version of the gateway, with --reload
        except Full:
            return "; the file has the size that --size allows"
        except KeyboardInterrupt:
            return ""
        return "" if len(conversation) else "; the gateway has ended"

    def _take(self, answer: dict[str, Any], writer: Writer) -> None:
        self.missed += answer.get("missed", 0)
        if "listening" in answer and not self._has_begun:
            self._has_begun = True
            print_error("recording; Ctrl+C ends it")
        if "entry" in answer:
            entry = Entry.of_data(answer["entry"]).without_secrets()
            writer.write(entry.data())
            self.written += entry.is_arrival


def _opened(file: Path, path: Path, most: int) -> Writer:
    try:
        return Writer(path, most)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}", MISTAKE)


def _parsed(parse: Any, option: str, given: str) -> Any:
    try:
        return parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
