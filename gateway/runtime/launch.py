"""How this process was started, so that it can start its next one the same way."""

import contextlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_HEAD = 1024
"""Bytes at the beginning of a script that name its interpreter: pip writes up to three lines."""


@dataclass(frozen=True)
class Launch:
    """A command line, with the folder and the environment that it began in.

    Nothing in it is resolved, so that the next process finds what the names mean by then: a link ``current`` that leads
    to another release, or to another virtual environment, gives the code of that one.
    """

    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]

    @classmethod
    def of_process(cls) -> Self:
        """Return that of this process. Call it before the folder or the environment is changed."""
        return cls(command_line(sys.orig_argv), _folder(), dict(os.environ))


def command_line(arguments: Sequence[str]) -> list[str]:
    """Return the command that gave a process these ``arguments``.

    The system puts the interpreter that a script names before the script. It is left out: the script of another release
    may name another one.
    """
    interpreter, *rest = arguments
    return rest if rest and _names(rest[0], interpreter) else [*arguments]


def _names(script: str, interpreter: str) -> bool:
    """Whether ``script`` can be called, and names ``interpreter`` in its first lines."""
    if not os.access(script, os.X_OK):
        return False
    with contextlib.suppress(OSError), Path(script).open("rb") as file:
        head = os.fsdecode(file.read(_HEAD))
        return head.startswith("#!") and interpreter in re.split(r"[\s\"'!]+", head)
    return False


def _folder() -> str:
    """Return the current folder, with the links by which the shell has got there."""
    by_links = os.environ.get("PWD", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(by_links) and os.path.samefile(by_links, "."):
            return by_links
    return os.getcwd()
