"""Sends a case to a server, byte for byte, and takes apart what comes back."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

from differential_cases import PAUSE, Case, get

PATIENCE = 3.0
"""Seconds without an answer after which none will come."""
SWITCHED = 101
PROBE = get("/probe")
_OF_THE_SERVER = {"date", "server", "connection", "content-length", "transfer-encoding", "keep-alive"}

Answer = tuple[int, list[tuple[str, str]], bytes | None]
"""Status, fields of the application, body; None: it was cut off."""


@dataclass
class Exchange:
    """What came back on one connection."""

    server: int
    """The port that it was made to."""
    port: int
    """The client's."""
    answers: list[Answer] = field(default_factory=list)
    end: str = ""
    """``keeps``, ``closes``, ``silent``, or ``nonsense``: what came was no answer."""
    frames: bytes = b""
    """What came after 101."""


_used: set[tuple[int, int]] = set()


async def _connect(port: int) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from a port of which the server has had no connection: by its number the run of an answer is found."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        own: int = writer.get_extra_info("sockname")[1]
        if (port, own) not in _used:
            _used.add((port, own))
            return own, reader, writer
        writer.close()


async def exchange(port: int, case: Case) -> Exchange:
    own, reader, writer = await _connect(port)
    found = Exchange(port, own)
    try:
        await _converse(reader, writer, case, found)
    except TimeoutError:
        found.end = "silent"
    except (OSError, asyncio.IncompleteReadError):
        found.end = "closes"
    except (ValueError, IndexError, asyncio.LimitOverrunError):
        found.end = "nonsense"  # what comes is no answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return found


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, case: Case, found: Exchange) -> None:
    for each in case.sends:
        if each is not PAUSE:
            writer.write(each)
        elif found.answers and found.answers[-1][0] == SWITCHED:
            found.frames += await _frame(reader)
        else:
            found.answers.append(await _answer(reader, is_head=case.is_head))
    if found.answers and found.answers[-1][0] == SWITCHED:
        async with asyncio.timeout(PATIENCE):
            found.frames += await reader.read()
        found.end = "closes"
        return
    if not case.statuses:  # it leaves as soon as the answer begins
        await reader.readexactly(1)
        return
    while len(found.answers) < len(case.statuses):
        found.answers.append(await _answer(reader, is_head=case.is_head))
    writer.write(PROBE)
    await _answer(reader, is_head=False)
    found.end = "keeps"


async def _answer(reader: asyncio.StreamReader, *, is_head: bool) -> Answer:
    async with asyncio.timeout(PATIENCE):
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = text[:-4].split("\r\n")
        status = int(line.split(" ")[1])
        fields = [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        own = [each for each in fields if each[0] not in _OF_THE_SERVER]
        if is_head or status < 200 or status in (204, 304):
            return status, own, b""
        try:
            return status, own, await _body(reader, dict(fields))
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return status, own, None


async def _frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        first = await reader.readexactly(2)
        return first + await reader.readexactly(first[1])


async def _body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    if "transfer-encoding" not in fields:
        return await reader.read()
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def canonical(case: Case, found: Exchange, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What is compared. A request that a server refuses is refused, whatever its answer says."""
    mine = without_probe(runs)
    scopes = [each["scope"] for each in mine]
    events = [{key: each[key] for key in ("body", "received", "raised")} for each in mine]
    answers: list[Any] = [_plain(each) for each in found.answers]
    if not mine:
        refused = not answers or answers[-1][0] >= 400
        return {"scopes": [], "events": [], "answers": "refused" if refused else answers, "frames": b"", "end": ""}
    return {"scopes": scopes, "events": events, "answers": answers, "frames": found.frames, "end": found.end}


def without_probe(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in runs if each["scope"]["path"].removeprefix("/app") != "/probe"]


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """What differs, in words. Keys that a peer's scopes do not have are not compared."""
    found = [
        f"{key}: {one[key]!r} and {other[key]!r}"
        for one, other in zip(ours["scopes"], theirs["scopes"], strict=False)
        for key in one.keys() & other.keys()
        if one[key] != other[key]
    ]
    if len(ours["scopes"]) != len(theirs["scopes"]):
        found.append(f"runs: {len(ours['scopes'])} and {len(theirs['scopes'])}")
    keys = ours.keys() - {"scopes"}
    return found + [f"{key}: {ours[key]!r} and {theirs[key]!r}" for key in sorted(keys) if ours[key] != theirs[key]]


def _plain(answer: Answer) -> Any:
    status, fields, body = answer
    if status == SWITCHED:
        return status, sorted(field for field in fields if field[0] != "upgrade")
    if status in (400, 403, 408, 413, 426) or (status == 500 and body != b"no"):
        return (status,)  # the server's own words
    return status, fields, "cut off" if body is None else body
