"""`gateway certificates`: when the certificates of the running gateway expire."""

import time
from collections.abc import Mapping
from typing import Any

from gateway.cli.cells import age, at, cell
from gateway.cli.live import ask
from gateway.cli.options import AsJSON, File
from gateway.cli.running import control_places
from gateway.cli.terminal import print_json, print_text
from gateway.runtime.banner import columns


def certificates(config: File = None, as_json: AsJSON = False) -> None:
    """List the certificates that the running gateway uses, by the time at which they expire.

    The gateway reads the files anew, so a renewed certificate shows its new time. Exit code 1 if one has expired, or if
    no gateway runs with this file.

    Example: gateway certificates --json
    """
    answers = ask(control_places(config), "certificates")
    found = sorted((each for answer in answers for each in answer["certificates"]), key=lambda each: each["expires"])
    now = time.time()
    if as_json:
        print_json({"certificates": found})
    else:
        rows = [_cells(each, now) for each in found]
        for line in columns([["server", "use", "expires", "in"], *rows]) if rows else ["  no server has a certificate"]:
            print_text(line)
    if any(each["expires"] <= now for each in found):
        raise SystemExit(1)


def _cells(found: Mapping[str, Any], now: float) -> list[str]:
    expires = found["expires"]
    left = age(expires - now) if expires > now else f"expired {age(now - expires)} ago"
    return [cell(found["server"]), cell(found["use"]), at(expires), left]
