"""`gateway reload`: the running gateway takes up what has changed."""

import math
from typing import Annotated

import typer

from gateway.cli.options import File
from gateway.cli.running import control_places
from gateway.cli.terminal import fail, print_text
from gateway.control.client import ControlError, Conversation
from gateway.exit_codes import MISTAKE
from protocols.units import parse_duration

Within = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="With --code: how long the new process may take.")
]
Code = Annotated[bool, typer.Option("--code", help="Start a new process with the code as it is now.")]


def reload(config: File = None, code: Code = False, within: Within = "2m") -> None:
    """Let the running gateway take up what has changed.

    With --code it starts a new process beside itself, which takes over the sockets and the sessions when it can serve;
    then the old one finishes what it has accepted, and ends. If the new one fails, the old one keeps running.

    Example: gateway check && gateway reload --code
    """
    if not code:
        fail("write --code", 2)
    try:
        seconds = parse_duration(within)
    except ValueError as error:
        fail(f"--within: {error}", MISTAKE)
    try:
        with Conversation(control_places(config), {"do": "reload_code", "within": math.ceil(seconds)}) as conversation:
            for answer in conversation.answers():
                if "process" in answer:
                    print_text(f"process {answer['process']} serves, with the code as it is now")
    except ControlError as error:
        fail(str(error), 1)
