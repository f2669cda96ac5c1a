"""The servers of the differential suite, each started once.

``python differential_servers.py ours|uvicorn PORT PORT [PORT PORT]`` serves on two ports, without and with a
``root_path``; uvicorn does so with h11 and with httptools.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
ROOT_PATH = "/app"
PEERS = ("uvicorn-h11", "uvicorn-httptools", "daphne", "granian")


@dataclass(frozen=True)
class Served:
    port: int
    runs: Path
    """What its application has written."""


async def _ours(plain: int, rooted: int) -> None:
    from differential_app import app

    from protocols import HTTPServer, HTTPSettings

    settings = HTTPSettings(bind=f"127.0.0.1:{plain}"), HTTPSettings(bind=f"127.0.0.1:{rooted}", root_path=ROOT_PATH)
    async with HTTPServer(app, settings[0]), HTTPServer(app, settings[1]):
        await asyncio.Event().wait()


async def _uvicorn(*ports: int) -> None:
    import uvicorn

    kinds = [("h11", ""), ("h11", ROOT_PATH), ("httptools", ""), ("httptools", ROOT_PATH)]
    servers = [
        uvicorn.Server(
            uvicorn.Config("differential_app:app", port=port, http=http, root_path=root_path, log_level="critical")
        )
        for port, (http, root_path) in zip(ports, kinds, strict=True)
    ]
    await asyncio.gather(*[each.serve() for each in servers])


def _command(name: str, ports: list[int]) -> list[str]:
    given = [str(port) for port in ports]
    match name:
        case "daphne":
            return ["-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", given[0], "differential_app:app"]
        case "granian":
            options = ["--interface=asgi", "--workers=1", "--no-log", f"--port={given[0]}"]
            return ["-m", "granian", *options, "differential_app:app"]
        case _:
            return [str(HERE / "differential_servers.py"), name, *given]


@contextlib.contextmanager
def serving(folder: Path, ports: dict[str, list[int]]) -> Iterator[dict[str, Served]]:
    """Start the servers on ``ports``, by name. Yield what they serve, by the name of each peer; those with a root path
    have ``/app`` behind it."""
    processes = []
    found: dict[str, Served] = {}
    try:
        for name, given in ports.items():
            runs = folder / name
            runs.touch()
            names = ["uvicorn-h11", "uvicorn-h11/app", "uvicorn-httptools", "uvicorn-httptools/app"]
            names = names if name == "uvicorn" else [name, f"{name}/app"]
            found |= {each: Served(port, runs) for each, port in zip(names, given, strict=False)}
            environment = os.environ | {"RUNS": str(runs), "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
            log = (folder / f"{name}.log").open("wb")
            command = [sys.executable, *_command(name, given)]
            with log:
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder))
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


if __name__ == "__main__":
    asyncio.run({"ours": _ours, "uvicorn": _uvicorn}[sys.argv[1]](*map(int, sys.argv[2:])))
