"""Writes files into a folder. Nothing that is there is changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.init.template import Files, NoProject

_OPTIONAL = (".gitignore", "README.md")
"""A project may have its own; then these are not written."""


@dataclass(frozen=True)
class Plan:
    """What will be written into ``folder``, and the names of what is there and stays as it is."""

    folder: Path
    files: Files
    kept: tuple[str, ...]


def plan(folder: Path, files: Files) -> Plan:
    """Raises NoProject if ``folder`` has a file in whose place the project needs its own."""
    there = [name for name in files if os.path.lexists(folder / name)]
    if needed := [name for name in there if name not in _OPTIONAL]:
        raise NoProject(f"{folder} has {', '.join(needed)} already; nothing was written")
    return Plan(folder, {name: text for name, text in files.items() if name not in there}, tuple(there))


def write(plan: Plan) -> None:
    """Write all files or, if one cannot be written, none. Raises OSError."""
    made: list[Path] = []
    plan.folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, text in plan.files.items():
            with (plan.folder / name).open("x", encoding="utf-8") as file:  # not over what somebody makes meanwhile
                made.append(plan.folder / name)
                file.write(text)
    except OSError:
        for path in made:
            path.unlink()
        raise
