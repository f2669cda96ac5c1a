"""The log of a daemon under load, while all that can happen to it happens: no record is lost, doubled or divided."""

import json
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from servers import command
from servers.replaced import Replaced
from servers.site import until

HANDLERS = """
import logging, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError  # ASGI's way to say that an application has no lifespan
    _, kind, number = f"{scope['path']}/".split("/")[:3]
    if kind == "said":
        logging.getLogger("shop").info("said %s %s", number, "x" * 300)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:PORT"}}
application: load_handlers.app
log: {file: logs/gateway.log, format: FORMAT, max_size: SIZE, keep: 500}
"""
TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d [A-Z]+ +(.+)")


class Load:
    """Requests that come all the time, each with its number, on connections of their own."""

    def __init__(self, running: Replaced) -> None:
        self._running = running
        self._over = threading.Event()
        self.answered: list[int] = []
        self.refused: list[int] = []
        self._threads = [threading.Thread(target=self._ask, args=(first,)) for first in range(3)]
        for each in self._threads:
            each.start()

    def _ask(self, number: int) -> None:
        while not self._over.is_set():
            answered = self._running.answer(f"said/{number}")
            (self.answered if answered else self.refused).append(number)
            number += len(self._threads)

    def grows(self) -> None:
        wanted = len(self.answered) + 20
        until(lambda: len(self.answered) >= wanted, "the load goes on")

    def end(self) -> None:
        self._over.set()
        for each in self._threads:
            each.join(60)


def said(form: str, folder: Path) -> list[int]:
    """The numbers in all files of the log, each of whose lines is whole."""
    numbers = []
    for line in (line for file in folder.iterdir() for line in file.read_text().splitlines(keepends=True)):
        assert line.endswith("\n"), line
        if form == "json":
            message = json.loads(line)["message"]
        else:
            found = TEXT.fullmatch(line.rstrip("\n"))
            assert found, line
            message = found[1]
        if message.startswith("said "):
            _, number, filler = message.split(" ")
            assert filler == "x" * 300
            numbers.append(int(number))
    return numbers


@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", ["text", "json"])
def test_rotations_signals_and_reloads_lose_and_divide_no_record(tmp_path: Path, form: str) -> None:
    def config(size: str) -> str:
        return FILE.replace("FORMAT", form).replace("SIZE", size)

    logs = tmp_path / "logs"
    logs.mkdir()
    running = Replaced(tmp_path, {"gateway.yaml": config("20kB"), "load_handlers.py": HANDLERS})
    try:
        load = Load(running)
        try:
            for turn in range(2):
                load.grows()
                (logs / "gateway.log").rename(logs / f"moved-{turn}")
                os.kill(int(running.answer("pid")), signal.SIGUSR1)
                load.grows()
                running.write("gateway.yaml", config(f"{30 + turn}kB"))
                done = command.run(tmp_path, "reload")
                assert done.returncode == 0, done.stdout + done.stderr
                load.grows()
                before = running.answer("pid")
                done = running.reload()
                assert done.returncode == 0, done.stdout + done.stderr + running.said()
                assert running.answer("pid") != before
        finally:
            load.end()
        os.kill(int(running.answer("pid")), signal.SIGTERM)
        running.process.wait(60)
    finally:
        running.close()
    assert load.refused == []
    logged = Counter(said(form, logs))
    assert (set(load.answered) - set(logged), [each for each, times in logged.items() if times > 1]) == (set(), [])
    assert len(list(logs.iterdir())) > 4, "it was rotated, too"
