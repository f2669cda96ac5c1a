"""Sends the running gateway a sample of each kind, as the banner's line says, and shows what came of it."""

import asyncio
import contextlib
import shlex
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

_LINES = 8
"""How much is shown of an answer."""
_COLUMNS = 120
_BYTES = 64 * 1024
"""How much is read of an answer."""


async def send_samples(examples: Sequence[str], command: str, file: Path, print_line: Callable[[str], None]) -> None:
    """Do what ``examples`` say, one after the other, each as an operator would: with ``gateway send``, in a process of
    its own, which reads ``file``. ``command`` is how the commands among them begin; the others are addresses."""
    if not examples:
        print_line("try:  no server here can be sent a sample by gateway send")
    for example in examples:
        arguments = _arguments(example, command)
        print_line(f"try:  {command} {shlex.join(arguments)}")
        for line in _shown(await _answer(arguments, file)):
            print_line(f"        {line}")


def _arguments(example: str, command: str) -> list[str]:
    """Return the arguments of the command that an example is, or that gets an address as a browser does."""
    if example.startswith(command):
        return shlex.split(example.removeprefix(command))
    url = urlsplit(example)
    return ["send", url.scheme.removesuffix("s"), url.path or "/"]


async def _answer(arguments: Sequence[str], file: Path) -> str:
    # -P: not a module of the project that is called gateway
    async with _started(sys.executable, "-P", "-m", "gateway", "-c", str(file), *arguments) as process:
        assert process.stdout is not None
        answer = b""
        while len(answer) < _BYTES and (chunk := await process.stdout.read(_BYTES)):
            answer += chunk
        return answer.decode(errors="replace")


@contextlib.asynccontextmanager
async def _started(*command: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
    try:
        yield process
    finally:  # it has ended, has said enough, or this gateway stops
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _shown(answer: str) -> list[str]:
    lines = answer.splitlines()
    cut = [line if len(line) <= _COLUMNS else f"{line[:_COLUMNS]}..." for line in lines[:_LINES]]
    return [*cut, f"... {len(lines) - _LINES} more lines"] if len(lines) > _LINES else cut
