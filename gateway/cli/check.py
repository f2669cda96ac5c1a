"""``gateway check``: every mistake of the file, and what this machine lacks."""

import contextlib
import dataclasses
import sys

from gateway.cli.building import built, check_machine, warnings
from gateway.cli.options import AsJSON, File
from gateway.cli.terminal import file_of, print_json, print_text
from gateway.config.loader import load
from gateway.runtime import banner


def check(config: File = None, as_json: AsJSON = False) -> None:
    """Check the file: do all that `run` does before it binds, and show every mistake at its line and column.

    Also check this machine: the store and the outbox can be written, and the addresses exist here (one may be in use,
    by a gateway that runs). Exit codes: 2 there is a mistake in the file; 3 `run` could not start.

    Example: gateway check -c gateway.yaml
    """
    parsed = load(file_of(config))
    with contextlib.redirect_stdout(sys.stderr):
        gateway = built(parsed)
        check_machine(parsed, gateway)
    if as_json:
        found = [dataclasses.asdict(warning) for warning in warnings(parsed)]
        print_json({"valid": True, "diagnostics": [], "warnings": found})
    else:
        print_text(banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application))
