"""What `gateway check` says of a gateway that cannot trace."""

from pathlib import Path

import pytest

from gateway.config import checks
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.runtime.build import build

FILE = """
servers: {devices: {protocol: mqtt}}
routes: {mqtt: []}
tracing: {}
"""


def test_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_TRACING", ("opentelemetry.trace", "not_installed.exporter.otlp"))
    with pytest.raises(ConfigErrors, match=r"4:1: error: tracing: .*pip install 'asgi-gateway\[otel\]'"):
        build(parse(FILE, name="gateway.yaml", folder=Path()))


def test_it_is_installed() -> None:
    assert build(parse(FILE, name="gateway.yaml", folder=Path())).tracing is not None
    assert build(parse(FILE.replace("tracing: {}", ""), name="gateway.yaml", folder=Path())).tracing is None
