"""CPU of the sender: 1 KiB mails by submission to a server of ours, 5 at a time.

``kept``: connections are kept open. ``new``: each mail has a connection of its own. ``aiosmtplib``: the library alone,
with a connection for each mail.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import aiosmtplib
import uvloop

from benchmarks.side_by_side import Peer, client, options_of, python, report, running
from protocols.mail.submission import SubmissionSettings, open_submission

MAILS, AT_ONCE = 1000, 5
MESSAGE = b"Subject: hello\r\nMessage-ID: <%d@x.org>\r\nFrom: a@x.org\r\n\r\n" + (b"x" * 62 + b"\r\n") * 15
Submit = Callable[[bytes], Awaitable[object]]


async def in_turns(submit: Submit) -> float:
    """Return the mails per CPU second of this process."""
    numbers = iter(range(MAILS))

    async def some() -> None:
        for number in numbers:
            await submit(MESSAGE % number)

    started = time.process_time()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return MAILS / (time.process_time() - started)


async def by_us(port: int, **settings: float) -> float:
    submission = open_submission(SubmissionSettings(f"smtp://127.0.0.1:{port}", **settings))
    rate = await in_turns(lambda message: submission.submit("a@x.org", ["b@x.org"], message))
    await submission.close()
    return rate


async def by_the_library(port: int) -> float:
    async def submit(message: bytes) -> None:
        session = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        async with session:
            await session.sendmail("a@x.org", ["b@x.org"], message)

    return await in_turns(submit)


WAYS: dict[str, Callable[[int], Awaitable[float]]] = {
    "kept": by_us,
    "new": lambda port: by_us(port, keep_open=0.0),
    "aiosmtplib": by_the_library,
}


async def send(way: str, port: int) -> None:
    print(await WAYS[way](port))


def main() -> None:
    options = options_of("Submission")
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with running(Peer("server", lambda port: python("-m", "benchmarks.smtp", "serve-ours", str(port)))) as (port, _):
        for _ in range(options.rounds):
            for way, each in rates.items():
                each.append(client("-m", "benchmarks.submission", "send", way, str(port)))
    report("Submission, 1 KiB mails, 5 at a time", "mails per CPU second of the sender", rates)


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("way", choices=WAYS)
        parser.add_argument("port", type=int)
        given = parser.parse_args(sys.argv[2:])
        uvloop.run(send(given.way, given.port))
    else:
        main()
