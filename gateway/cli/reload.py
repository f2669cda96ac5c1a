"""``gateway reload``: the gateway that runs takes up what has changed: its file, or with ``--code`` everything."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.options import AsJSONLines, File
from gateway.cli.running import reload_places
from gateway.cli.terminal import fail, print_error, print_text
from gateway.config.diagnostics import ConfigErrors, count
from gateway.control.client import Answer, Conversation, NoDaemon
from gateway.exit_codes import CANNOT_START, FORCED, MISTAKE, OK
from gateway.logs.escaping import json_text
from protocols.units import parse_duration

Check = Annotated[bool, typer.Option("--check", help="Only read and check it there, and show what would change.")]
Force = Annotated[bool, typer.Option("--force", help="Build it again even if the file has not changed.")]
Code = Annotated[bool, typer.Option("--code", help="Start a new process with the code as it is now.")]
Reconnect = Annotated[
    bool, typer.Option("--reconnect", help="Then end the connections that run an earlier version of the file.")
]
Rate = Annotated[
    int | None,
    typer.Option("--rate", metavar="N", min=1, help="With --reconnect: how many a second at most; 500 by default."),
]
Within = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="With --code: how long the new process may take.")
]

_NOBODY = (
    "no gateway runs with this file and the store that it names; gateway run starts it. If the store was changed, "
    "write the one before, or restart the gateway"
)
_UNREACHED = "Nothing was changed; no gateway was found that runs with this file."
_ENDED = "the gateway was stopped before it answered"
_CODES = {"mistakes": MISTAKE, "failed": CANNOT_START}


def reload(
    config: File = None,
    check: Check = False,
    force: Force = False,
    reconnect: Reconnect = False,
    rate: Rate = None,
    code: Code = False,
    within: Within = "2m",
    as_json: AsJSONLines = False,
) -> None:
    """Let the running gateway read its file again. What it says takes effect at once, and no connection is refused.

    A mistake changes nothing. Modules that are imported already are not imported again: with --code the gateway starts
    a new process beside itself, which takes over the sockets and the sessions when it can serve; then the old one
    finishes what it has accepted, and ends. If the new one fails, the old one keeps running.
    Open connections stay with the version of the file that they began with. --reconnect ends them, also without a
    change of the file: each peer is told that it may connect again, and what has arrived is handled first.
    Exit codes: 1 no gateway answers; 2 there is a mistake in the file; 3 it could not start with it.

    Examples: gateway reload --check && gateway reload · gateway reload --reconnect --rate 100 · gateway reload --code
    """
    if (check or code) and reconnect:
        fail("--reconnect: --check changes nothing, and --code ends the old connections anyway", MISTAKE)
    if rate is not None and not reconnect:
        fail("--rate: write --reconnect as well", MISTAKE)
    try:
        seconds = parse_duration(within)
    except ValueError as error:
        fail(f"--within: {error}", MISTAKE)
    options = {"check": check, "force": force, "reconnect": reconnect, "rate": rate}
    try:
        if code:
            _take_over(reload_places(config), seconds)
        else:
            given = {name: value for name, value in options.items() if value is not None}
            sys.exit(_read(reload_places(config), given, as_json))
    except ConfigErrors as errors:
        fail(errors.with_end(_UNREACHED), MISTAKE)
    except NoDaemon:
        fail(_NOBODY, FORCED)


def _take_over(beside: Sequence[Path], seconds: float) -> None:
    with Conversation(beside, {"do": "reload_code", "within": math.ceil(seconds)}, one=True) as conversation:
        unanswered = len(conversation)
        for answer in conversation.answers():
            if "process" in answer:
                unanswered -= 1
                print_text(f"process {answer['process']} serves, with the code as it is now")
    if unanswered:
        fail(_ENDED, FORCED)


def _read(beside: Sequence[Path], options: Mapping[str, int], as_json: bool) -> int:
    """Return the exit code: the worst, if several gateways answer."""
    with Conversation(beside, {"do": "reload", **options}, one=True) as conversation:
        asked = len(conversation)
        answers = [_show(answer, as_json, asked > 1) for answer in conversation.answers()]
    codes = [_code(answer) for answer in answers if _is_last(answer, options["reconnect"])]
    if len(codes) < asked:
        fail(_ENDED, FORCED)
    return max(codes)


def _is_last(answer: Answer, reconnects: int) -> bool:
    if (done := answer.get("done")) is not None:
        return not reconnects or done["result"] in _CODES
    progress = answer.get("reconnecting")
    return progress is not None and progress["asked"] == progress["total"]


def _code(last: Answer) -> int:
    return _CODES.get(last["done"]["result"], OK) if "done" in last else OK


def _show(answer: Answer, as_json: bool, several: bool) -> Answer:
    """Show an answer, and return it."""
    if as_json:
        print_text(json_text(answer))
        return answer
    done = answer.get("done", {"result": "", "notes": ()})
    said = print_error if done["result"] in _CODES else print_text
    for line in _lines(answer):
        said(f"process {answer['process']}: {line}" if several else line)
    for note in done["notes"]:
        print_error(note)
    return answer


def _lines(answer: Answer) -> Iterator[str]:
    if "done" in answer:
        yield from _result(answer["done"])
    elif (progress := answer.get("reconnecting")) is not None and (progress["asked"] or not progress["total"]):
        of = count(progress["total"], "connection")
        yield f"{progress['asked']} of {of} of earlier generations told to connect again"


def _result(done: Mapping[str, Any]) -> Iterator[str]:
    generation, changes = done["generation"], done["changes"]
    match done["result"]:
        case "mistakes" | "failed":
            yield done["told"]
        case "unchanged":
            yield f"nothing changed: the file says what generation {generation} runs with; --force builds it anew"
        case "valid":
            yield from map(_change, changes)
            yield f"valid: {count(len(changes), 'change')}; generation {generation} runs on"
        case _:
            yield from map(_change, changes)
            seconds = f"{done['seconds']:.2f} s"
            yield f"generation {generation} runs, after {seconds}: {count(len(changes), 'change')}"


def _change(change: Mapping[str, str]) -> str:
    return change["text"]
