"""`gateway replay`: a recording, run through today's code."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import AsJSON, File
from gateway.cli.terminal import fail, file_of, print_error, print_json, print_text
from gateway.config.diagnostics import count
from gateway.config.loader import ParsedConfig, load
from gateway.exit_codes import CANNOT_START, MISTAKE
from gateway.logs import setup
from gateway.logs.columns import Columns
from gateway.recording.compare import Difference, Past
from gateway.recording.entry import Damaged
from gateway.recording.file import entries
from gateway.runtime.sandbox import Sandbox
from gateway.scopes.installed import KINDS
from protocols.lifespan import StartupFailed

MARK = "GATEWAY_REPLAY"
"""Is set in the environment, so that a project's settings can choose a database of its own."""

_WIDTHS = (8, 9, 14, 60, 60, 0)
"""The widest that the columns become: time, scope type, event id, who -> what, verdicts."""


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of gateway record.")],
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Run a recording through today's code, and show which messages get another verdict.

    Exit code 1 if at least one verdict differs, 2 if the file is not a recording.

    The store is a new one, and what handlers send by the gateway is counted and does not leave. Your own database is
    used as ever: choose another one where GATEWAY_REPLAY is set in the environment.

    Example: gateway replay monday.jsonl
    """
    path = file.absolute()
    try:
        past = Past(entries(path))
    except Damaged as error:
        fail(f"{file}: {error}", MISTAKE)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror or error}", MISTAKE)
    parsed = load(file_of(config))
    os.chdir(parsed.document.folder)
    os.environ[MARK] = "1"
    report = _Report()
    try:
        with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory(prefix="gateway-replay-") as folder:
            asyncio.run(_replay(report, parsed, path, past, Path(folder)))
    except StartupFailed as error:
        fail(f"cannot start: {error}", CANNOT_START)
    report.show(as_json=as_json)


async def _replay(report: "_Report", parsed: ParsedConfig, path: Path, past: Past, folder: Path) -> None:
    log = replace(parsed.settings.log, level="error", format="text", arrivals=False)
    setup.configure(log, sys.stderr)
    async with Sandbox(replace(parsed, settings=replace(parsed.settings, log=log)), folder) as sandbox:
        for entry in (each for each in entries(path) if each.is_arrival):
            if entry.scope.get("type") not in KINDS:
                report.unknown[str(entry.scope.get("type"))] += 1
                continue
            report.replayed += 1
            then = past.of(entry)
            now = await sandbox.replay(entry, then)
            if then.differs(now):
                report.differences.append(Difference(entry.facts, entry.left_out, then, now))
    report.unsent = sandbox.unsent


class _Report:
    def __init__(self) -> None:
        self.replayed = 0
        self.differences: list[Difference] = []
        self.unknown = Counter[str]()
        """Entries of scope types that are not installed."""
        self.unsent = Counter[str]()

    def show(self, *, as_json: bool) -> None:
        certain = [each for each in self.differences if not each.is_doubtful]
        if as_json:
            print_json(
                {
                    "replayed": self.replayed,
                    "differences": [each.data() for each in self.differences],
                    "unsent": dict(self.unsent),
                    "not_installed": dict(self.unknown),
                }
            )
        else:
            self._print(certain)
        if certain:
            raise typer.Exit(1)

    def _print(self, certain: list[Difference]) -> None:
        columns, rows = Columns(_WIDTHS), [_cells(each) for each in self.differences]
        for row in rows:
            columns.widen(row)
        for row in rows:
            print_text("  ".join(columns.padded(row)).rstrip())
        for kind, number in self.unknown.items():
            print_error(f"{count(number, 'arrival')} of {kind} skipped: no such scope type is installed")
        doubtful = len(self.differences) - len(certain)
        doubts = f", {doubtful} more may differ because something was left out" if doubtful else ""
        unsent = ", ".join(f"{number} {kind}" for kind, number in sorted(self.unsent.items()))
        kept = f"; not sent: {unsent}" if unsent else ""
        print_text(f"{count(self.replayed, 'arrival')} replayed, {len(certain)} with another verdict{doubts}{kept}")


def _cells(difference: Difference) -> list[str]:
    facts = difference.facts
    time = datetime.fromtimestamp(facts["time"], UTC).astimezone().strftime("%H:%M:%S")
    note = f"(left out: {', '.join(difference.left_out)})" if difference.is_doubtful else ""
    verdicts = f"{difference.then} => {difference.now}"
    return [time, facts["type"], facts["id"] or "-", f"{facts['who']} -> {facts['what']}", verdicts, note]
