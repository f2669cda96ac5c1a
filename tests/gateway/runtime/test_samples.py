"""What `gateway run --try` does with what the banner says to try."""

import asyncio
from pathlib import Path

from servers.ports import free_port
from servers.site import PATIENCE

from gateway.runtime.samples import _arguments, _shown, send_samples


def test_a_command_is_done_and_an_address_is_requested() -> None:
    assert _arguments("gateway -c a.yaml send sms +44 'a b'", "gateway -c a.yaml") == ["send", "sms", "+44", "a b"]
    assert _arguments("https://127.0.0.1:8000/docs", "gateway") == ["send", "http", "/docs"]


async def test_where_nothing_can_be_sent_this_is_said(tmp_path: Path) -> None:
    printed: list[str] = []
    await send_samples([], "gateway", tmp_path / "gateway.yaml", printed.append)
    assert printed == ["try:  no server here can be sent a sample by gateway send"]


def test_a_long_answer_is_cut() -> None:
    assert _shown("a" * 121) == ["a" * 120 + "..."]
    assert _shown("a\n" * 8) == ["a"] * 8
    assert _shown("a\n" * 10) == [*["a"] * 8, "... 2 more lines"]


async def test_a_sample_that_is_not_answered_ends_with_the_gateway(tmp_path: Path) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # to the end of the request's connection, which is the end of its process
        left.set()
        writer.close()

    port = free_port()
    file = tmp_path / "gateway.yaml"
    file.write_text(f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{port}'}}}}\n")
    async with await asyncio.start_server(silent, "127.0.0.1", port), asyncio.timeout(PATIENCE):
        task = asyncio.create_task(send_samples(["http://a/"], "gateway", file, lambda line: None))
        await asked.wait()
        task.cancel()
        await left.wait()
        await asyncio.wait({task})
