"""Growth with the routes: 10 to 50,000 of a kind. Reading the file and building its application, and one lookup.

Times are CPU time. What is looked up is the last route, and then what no route takes.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gateway.config.loader import parse
from gateway.garbage_collection import uncollected
from gateway.runtime.application import ApplicationBuilder
from gateway.runtime.prepare_imports import prepare_imports

NUMBERS = (10, 1_000, 50_000)
HANDLERS = "async def handle(scope, receive, send):\n    pass\n"
SERVERS = {
    "mqtt": "{protocol: mqtt}",
    "email": "{protocol: smtp}",
    "sms": "{protocol: sms, provider: generic, on: web, path: /sms, insecure: true}",
    "http": "{protocol: http}",
    "websocket": "{protocol: http}",
}


class Kind(NamedTuple):
    """Routes of one kind: how number n is written, and a scope for it."""

    scope_type: str
    key: str
    scope: Callable[[int], dict[str, Any]]


def recipient(address: str) -> Callable[[int], dict[str, Any]]:
    return lambda n: {"type": "email", "mail_from": "", "rcpt_to": [address.format(n)]}


def requested(scope_type: str, path: str) -> Callable[[int], dict[str, Any]]:
    return lambda n: {"type": scope_type, "path": path.format(n), "root_path": ""}


KINDS = {
    "address": Kind("email", "address: box{}@example.org", recipient("box{}@example.org")),
    "domain": Kind("email", "domain: d{}.example.org", recipient("ann@d{}.example.org")),
    "recipient: ^box1@x\\.org$": Kind("email", "recipient: '^box{}@x\\.org$'", recipient("box{}@x.org")),
    "recipient: ^box1\\+\\w+@x\\.org$": Kind(
        "email", "recipient: '^box{}\\+\\w+@x\\.org$'", recipient("box{}+a@x.org")
    ),
    "sender": Kind(
        "sms", 'sender: "+4477{:07d}"', lambda n: {"type": "sms", "sender": f"+4477{n:07d}", "country": "GB"}
    ),
    "topic": Kind("mqtt", 'topic: "sites/{}/door"', lambda n: {"type": "mqtt", "topic": f"sites/{n}/door"}),
    "topic: +/door1/#": Kind("mqtt", 'topic: "+/door{}/#"', lambda n: {"type": "mqtt", "topic": f"a/door{n}/b"}),
    "path: ^shop1/": Kind("http", "path: '^shop{}/'", requested("http", "/shop{}/")),
    "path: ^shop1/(\\d+)/$": Kind("http", "path: '^shop{}/(\\d+)/$'", requested("http", "/shop{}/7/")),
    "websocket path: ^shop1/": Kind("websocket", "path: '^shop{}/'", requested("websocket", "/shop{}/chat")),
}


def text(kind: Kind, number: int) -> str:
    servers = {"web": SERVERS["http"], "tested": SERVERS[kind.scope_type]}
    lines = ["servers:\n", *(f"  {name}: {server}\n" for name, server in servers.items())]
    lines += ["routes:\n", f"  {kind.scope_type}:\n"]
    lines += [f"    - {{{kind.key.format(n)}, app: benched_routes.handle}}\n" for n in range(number)]
    return "".join(lines)


def built(kind: Kind, number: int, folder: Path) -> tuple[Any, float]:
    """The application, and the CPU seconds that it took."""
    written = text(kind, number)
    begun = time.process_time()
    with uncollected():
        parsed = parse(written, name="gateway.yaml", folder=folder, environ={})
        builder = ApplicationBuilder(parsed, importable=not prepare_imports(parsed))
        app = builder.build()
        parsed.finish(builder.diagnostics)
    return app, time.process_time() - begun


def microseconds(router: Any, scope: dict[str, Any], count: int) -> float:
    """CPU time of one lookup, past what a router remembers."""
    remembered = getattr(router, "_found", {})
    begun = time.process_time()
    for _ in range(count):
        router.find(scope)
        remembered.clear()
    return (time.process_time() - begun) / count * 1e6


def measure(name: str, number: int, count: int, folder: Path) -> None:
    kind = KINDS[name]
    app, seconds = built(kind, number, folder)
    router = app.routes[0].app
    last, none = (microseconds(router, kind.scope(n), count) for n in (number - 1, number))
    print(f"{name:32} {number:>7,}  {seconds:7.2f} s  {last:8.1f} us  {none:8.1f} us", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    count = 2_000 if parser.parse_args().quick else 20_000
    print(f"{'routes by':32} {'number':>7}  {'read':>9}  {'the last':>11}  {'none':>11}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "benched_routes.py").write_text(HANDLERS)
        for name in KINDS:
            for number in NUMBERS:
                measure(name, number, count, Path(folder))
    print(f"memory at the most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
