"""Golden cases: each file in ``cases`` is a gateway.yaml, a separator, and exactly what comes of it.

A new case is a new file. ``GOLDEN=write pytest tests/config`` writes the second half; read it before you commit it.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import parse
from gateway.runtime.build import build

HERE = Path(__file__).parent
CASES = sorted((HERE / "cases").glob("*.yaml"))
SEPARATOR = "=====\n"
ENVIRON = {"ZONE": "example.org", "PASSWORD": "hunter2", "LIMIT": "7"}


def chosen(settings: Any) -> Any:
    """The settings that differ from their defaults, as plain data."""
    if dataclasses.is_dataclass(settings):
        return {
            field.name: chosen(value)
            for field in dataclasses.fields(settings)
            if (value := getattr(settings, field.name)) != _default(field)
        }
    if isinstance(settings, dict):
        return {key: chosen(value) for key, value in settings.items()}
    return [chosen(value) for value in settings] if isinstance(settings, list | tuple) else settings


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def outcome(text: str) -> str:
    try:
        gateway = build(parse(text, name="gateway.yaml", folder=HERE / "handlers", environ=ENVIRON))
    except ConfigErrors as errors:
        return f"{errors}\n"
    return json.dumps(chosen(gateway.settings), indent=2, default=str) + "\n"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "handlers")
    monkeypatch.setattr(sys, "path", list(sys.path))
    text, _, expected = case.read_text().partition(SEPARATOR)
    result = outcome(text)
    if os.environ.get("GOLDEN") == "write":
        case.write_text(f"{text}{SEPARATOR}{result}")
    else:
        assert result == expected


def test_there_are_cases() -> None:
    assert len(CASES) >= 25


def test_no_case_shows_a_secret() -> None:
    for case in CASES:
        assert "hunter2" not in case.read_text().partition(SEPARATOR)[2], case.name
