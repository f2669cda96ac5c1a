"""docs/limits.md has each limit of an HTTP server, with its default."""

import re
from dataclasses import fields
from pathlib import Path

from protocols.http.settings import HTTPSettings
from protocols.net.tls import TLS
from protocols.units import parse_duration, parse_size

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"
_ROW = re.compile(r"^\| `([a-z_.]+)` \| (\w+) \|", re.MULTILINE)
_LIMIT = re.compile(r"max_\w+|\w+_timeout|\w+_interval|\w+_grace")


def test_the_page_has_every_limit_with_its_default() -> None:
    rows = dict(_ROW.findall(PAGE.read_text()))
    defaults = {each.name: each.default for each in fields(HTTPSettings) if _LIMIT.fullmatch(each.name)}
    assert rows.keys() - {"tls.handshake_timeout"} == defaults.keys()
    assert parse_duration(rows["tls.handshake_timeout"]) == TLS("c", "k").handshake_timeout
    for name, default in defaults.items():
        read = parse_size if isinstance(default, int) else parse_duration
        assert read(rows[name]) == default, name
