"""What `gateway tail` and `gateway record` do when the gateway ends, and when they have enough. It is played here."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from servers.command import run
from servers.site import ROOT
from told_arrivals import arrival, serving
from waiting import until

from gateway.arrivals import Arrivals
from gateway.control.recent import Recent

FILE = 'servers: {mail: {protocol: smtp, bind: "127.0.0.1:0"}}\napplication: mail.app\n'


@asynccontextmanager
async def gateway(folder: Path, recent: Recent | None = None) -> AsyncIterator[Arrivals]:
    (folder / "gateway.yaml").write_text(FILE)
    async with serving(folder / "gateway.yaml", recent) as here:
        yield here


def said(folder: Path) -> str:
    """What the command has said."""
    return (folder / "said").read_text()


@asynccontextmanager
async def command(folder: Path, *arguments: str) -> AsyncIterator["subprocess.Popen[bytes]"]:
    environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (folder / "said").open("w") as out:
        started = [sys.executable, "-m", "gateway", *arguments]
        process = await asyncio.to_thread(subprocess.Popen, started, cwd=folder, env=environ, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait, 20)


async def test_it_hears_a_gateway_that_starts_beside_another_one(tmp_path: Path) -> None:
    async with gateway(tmp_path) as first, command(tmp_path, "tail", "-f"):
        await until(lambda: bool(first.audience.listeners))
        async with gateway(tmp_path) as second:
            await until(lambda: bool(second.audience.listeners))
            second.tell(arrival(target="handlers.Second"))
            await until(lambda: "handlers.Second" in said(tmp_path))
        first.tell(arrival())
        await until(lambda: "handlers.Texts" in said(tmp_path))


async def test_it_waits_for_the_next_gateway(tmp_path: Path) -> None:
    async with AsyncExitStack() as running:
        first = await running.enter_async_context(gateway(tmp_path))
        async with command(tmp_path, "tail", "-f") as tail:
            await until(lambda: bool(first.audience.listeners))
            await running.aclose()
            await until(lambda: "the gateway has ended; waiting for the next one" in said(tmp_path))
            second = await running.enter_async_context(gateway(tmp_path))
            await until(lambda: bool(second.audience.listeners))
            second.tell(arrival())
            await until(lambda: "handlers.Texts" in said(tmp_path))
            tail.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(tail.wait, 20) == 0


async def test_a_gateway_that_remembers_nothing_says_so(tmp_path: Path) -> None:
    async with gateway(tmp_path):
        done = await asyncio.to_thread(run, tmp_path, "tail")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "this gateway remembers nothing: write log: {arrivals: true}, or see what comes by --follow\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing has arrived since the gateway started\n"),
        (["--route", "elsewhere"], "no arrival fits; gateway tail without filters shows all\n"),
    ],
)
async def test_where_nothing_is_shown_it_says_why(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    async with gateway(tmp_path, Recent()):
        done = await asyncio.to_thread(run, tmp_path, "tail", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", sentence)


async def test_a_recording_goes_on_with_a_gateway_that_takes_over(tmp_path: Path) -> None:
    """As each version does under gateway run --reload."""
    texts = {"scope": {"type": "sms"}, "events": [{"type": "sms.receive", "text": "hi"}]}
    async with AsyncExitStack() as running:
        first = await running.enter_async_context(gateway(tmp_path))
        async with command(tmp_path, "record", "new") as record, AsyncExitStack() as taken_over:
            await until(lambda: bool(first.audience.listeners))
            first.tell(arrival(**texts))
            second = await taken_over.enter_async_context(gateway(tmp_path))
            await until(lambda: bool(second.audience.listeners))
            await running.aclose()
            second.tell(arrival(**texts))
            await taken_over.aclose()
            assert await asyncio.to_thread(record.wait, 20) == 0
    assert said(tmp_path).splitlines() == ["recording; Ctrl+C ends it", "2 arrivals in new; the gateway has ended"]


def test_no_recording_begins_for_which_there_is_no_room(tmp_path: Path) -> None:
    done = run(tmp_path, "record", "new", "--size", "10")
    assert done.returncode == 2
    assert "10 is too small for a recording; write 1KiB or more" in done.stderr
    assert not (tmp_path / "new").exists()


async def test_a_recording_ends_with_its_size(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here, command(tmp_path, "record", "new", "--size", "2KiB") as record:
        await until(lambda: bool(here.audience.listeners))
        for _ in range(20):
            here.tell(arrival(scope={"type": "sms"}, events=[{"type": "sms.receive", "text": "hi"}]))
        assert await asyncio.to_thread(record.wait, 20) == 0
    assert "arrivals in new; the file has the size that --size allows" in said(tmp_path)
    assert (tmp_path / "new").stat().st_size <= 2048
