"""`gateway tail`: what arrives at the running gateway, and what becomes of it."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.arrivals import Arrival
from gateway.cli.completion import routes
from gateway.cli.options import AsJSONLines, File
from gateway.cli.running import control_places
from gateway.cli.terminal import print_error, print_text
from gateway.control.client import LOOK, Answer, Conversation, NoDaemon
from gateway.logs.arrivals import ArrivalLine
from gateway.logs.colours import has_colours
from gateway.logs.escaping import json_text
from gateway.logs.stamps import stamp_for

Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl+C, also when the gateway starts again.")]
Lines = Annotated[int, typer.Option("-n", "--lines", min=0, max=1000, metavar="N", help="How many of the last ones.")]
OfType = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this scope type, such as mqtt.")]
OfRoute = Annotated[
    str | None,
    typer.Option("--route", metavar="TEXT", help="Only routes and targets with this text.", autocompletion=routes),
]


OfClient = Annotated[
    str | None,
    typer.Option(
        "--client", metavar="WHO", help="Only from this client, address or number; * stands for any characters."
    ),
]
OfAddress = Annotated[
    str | None,
    typer.Option("--address", metavar="NET", help="Only from this address or network: 10.1.2.3, 10.0.0.0/8, unix."),
]
OfTopic = Annotated[
    str | None, typer.Option("--topic", metavar="FILTER", help="Only messages of MQTT whose topic this filter matches.")
]


def tail(
    config: File = None,
    follow: Follow = False,
    lines: Lines = 20,
    type: OfType = None,
    route: OfRoute = None,
    client: OfClient = None,
    address: OfAddress = None,
    topic: OfTopic = None,
    as_json: AsJSONLines = False,
) -> None:
    """Show what arrived at the running gateway, and what became of it: route, handler, verdict, time.

    The gateway remembers the last 1000 where the file has `log: {arrivals: true}`. With --follow it shows what comes.

    Examples: gateway tail -f --client dev-7 · gateway tail -f --topic 'sensors/#' · gateway tail --address 10.0.0.0/8
    """
    request = {"do": "tail", "last": lines, "follow": follow, "type": type, "route": route}
    others = {"client": client, "address": address, "topic": topic}
    request |= {name: value for name, value in others.items() if value}
    shown = _Shown(follow, as_json)
    places = control_places(config)
    try:
        shown.all(places, request)
        while follow:
            print_error("the gateway has ended; waiting for the next one")
            _wait_and_show(shown, places, {**request, "last": 0})
        if why := shown.nothing(filtered=any((type, route, *others.values()))):
            print_error(why)
    except KeyboardInterrupt:
        return


class _Shown:
    def __init__(self, follow: bool, as_json: bool) -> None:
        self._follow = follow
        self._as_json = as_json
        self._any = False
        self._remembers = True
        self._line = ArrivalLine(colours=has_colours(sys.stdout))
        self._stamp = stamp_for(None, sys.stdout)

    def all(self, places: Sequence[Path], request: Mapping[str, Any]) -> None:
        """Show what every daemon there tells, until all have ended."""
        with Conversation(places, request) as conversation:
            while len(conversation):
                for answer in conversation.answers(LOOK if self._follow else None):
                    self._show(answer)
                if self._follow:
                    conversation.join()

    def _show(self, answer: Answer) -> None:
        if "arrival" in answer:
            self._any = True
            self._print(answer["arrival"])
        elif missed := answer.get("missed"):
            print_error(f"{missed} missed: they came faster than they could be shown")
        elif "remembers" in answer:
            self._remembers = answer["remembers"]

    def nothing(self, *, filtered: bool) -> str:
        """Return why nothing was shown; empty if something was."""
        if self._any:
            return ""
        if not self._remembers:
            return "this gateway remembers nothing: write log: {arrivals: true}, or see what comes by --follow"
        if filtered:
            return "no arrival fits; gateway tail without filters shows all"
        return "nothing has arrived since the gateway started"

    def _print(self, facts: Mapping[str, Any]) -> None:
        if self._as_json:
            print_text(json_text(facts))
        else:
            typer.echo(f"{self._stamp(facts['time'])}{self._line.of(Arrival(**facts))}")  # escaped, but for its colours


def _wait_and_show(shown: _Shown, places: Sequence[Path], request: Mapping[str, Any]) -> None:
    while True:
        try:
            shown.all(places, request)
            return
        except NoDaemon:
            time.sleep(LOOK)
