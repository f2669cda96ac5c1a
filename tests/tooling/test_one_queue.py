"""One bounded queue and one wake-up, which all use. Another one that waits in its own way has a reason here."""

import ast
from collections.abc import Iterator

from servers.site import ROOT

QUEUES = {"asyncio.Queue", "asyncio.LifoQueue", "asyncio.PriorityQueue", "asyncio.Condition", "queue.SimpleQueue"}
SEVERAL = {"deque", "list", "dict", "set"}
"""Containers that make a queue of futures."""
REASONS = {
    "gateway/consumers/gathering.py": "as many connections are let in as there is room for",
    "gateway/consumers/merge.py": "it waits for several reads, and never reads ahead",
    "gateway/delivery/running_attempts.py": "an answer for each sender that waits",
    "gateway/layers/redis/pubsub.py": "an answer for each subscription",
    "gateway/reload/supervisor.py": "what becomes of its processes, in the order in which it is told",
    "gateway/runtime/running.py": "what an old gateway waits for before it ends, and who waits for it",
    "gateway/store/writer.py": "jobs go from the loop to a thread",
    "gateway/workers/link.py": "an answer for each request to the parent",
    "protocols/http/compressor.py": "messages go from the loop to a thread, and their senders wait",
    "protocols/http/connection.py": "each writer has its own time limit",
    "protocols/mqtt/client/broker_connection.py": "an answer for each packet id; a state: the socket takes more",
    "protocols/mqtt/client/run.py": "a state: every message is settled",
    "protocols/mqtt/connection/endings.py": "a state: no connection is left",
    "protocols/mqtt/server.py": "a state: no connection is left",
    "protocols/mail/smtp/server.py": "a state: a session has ended",
    "protocols/sms/repetitions.py": "results of messages that are handled now",
    "protocols/sms/sending.py": "requests that are under way",
}


def written(tree: ast.AST) -> Iterator[str]:
    """What a module has that is a queue or a wake-up of its own."""
    events = {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == "asyncio.Event()"
        for target in node.targets
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in QUEUES:
            yield ast.unparse(node)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in SEVERAL:
            if "asyncio.Future" in ast.unparse(node):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).removesuffix(".clear") in events:
            yield ast.unparse(node)


def test_no_other_queue_and_no_other_wake_up_is_written() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("gateway", "protocols")
        for path in (ROOT / folder).rglob("*.py")
        if list(written(ast.parse(path.read_text())))
    }
    assert sorted(found - REASONS.keys()) == []
    assert sorted(REASONS.keys() - found) == [], "no longer needed"


def test_what_counts_as_one() -> None:
    text = """
self.a: deque[asyncio.Future[None]] = deque()
self.b = asyncio.Event()
self.b.set()
self.b.clear()
self.c = asyncio.Event()
self.c.set()
d = asyncio.Queue(3)
"""
    assert sorted(written(ast.parse(text))) == ["asyncio.Queue", "deque[asyncio.Future[None]]", "self.b.clear()"]
