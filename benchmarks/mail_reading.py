"""Reading mails: our MIME splitter and the standard library's parser, which read mails here before. CPU time, memory.

Each figure is from a process of its own, alternated; memory is what the process grew by at the most, as a multiple of
the mail's size. Less is better.
"""

import argparse
import base64
import email
import email.message
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

from benchmarks.side_by_side import medians, python
from protocols.mail.mime import Part, parse

STEP = 640 * 1024
LARGE = 19_000_000
"""Bytes of the attachment: 26 MB in base64."""


class Work(NamedTuple):
    """One row: the mail, what is done with its parsed form, by us and by the standard library, and how often."""

    mail: str
    ours: Callable[[Part], object]
    theirs: Callable[[email.message.Message], object]
    repeat: int


def stream(part: Part) -> None:
    with part.children[1].open() as content:
        while content.read(STEP):
            pass


def text(message: email.message.Message) -> str:
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode(message.get_content_charset("utf-8"))


def leaves(message: email.message.Message) -> list[object]:
    return [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]


WORK = {
    "26 MB, parsed": Work("large", lambda part: part, lambda message: message, 1),
    "26 MB, attachment decoded": Work("large", lambda part: part.children[1].decoded(), leaves, 1),
    "26 MB, attachment read in steps": Work("large", stream, leaves, 1),
    "1 kB, text decoded": Work("small", Part.text, text, 3000),
    "text, HTML and an image, decoded": Work(
        "usual", lambda part: [leaf.decoded() for leaf in part.leaves()], leaves, 1000
    ),
}


def large() -> bytes:
    encoded = base64.encodebytes(random.Random(1).randbytes(LARGE)).replace(b"\n", b"\r\n")
    head = (
        b'From: ann@example.org\r\nContent-Type: multipart/mixed; boundary="=_1"\r\n\r\n--=_1\r\n\r\nhello\r\n--=_1\r\n'
    )
    kind = b"Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + kind + encoded + b"\r\n--=_1--\r\n"


def small() -> bytes:
    head = (
        b"From: Ann <ann@example.org>\r\nTo: support@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n"
    )
    kind = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    return head + kind + (b"x" * 62 + b"\r\n") * 12


def usual() -> bytes:
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("Grüße\n" * 20)
    message.add_alternative("<p>Grüße</p>\n" * 20, subtype="html")
    message.add_attachment(random.Random(1).randbytes(20_000), "image", "png", filename="grün.png")
    return message.as_bytes().replace(b"\n", b"\r\n")


MAILS: dict[str, Callable[[], bytes]] = {"large": large, "small": small, "usual": usual}


def make(folder: Path) -> None:
    """Write the mails. This process's memory counts as that of its children, so it is another one."""
    for mail, made in MAILS.items():
        (folder / mail).write_bytes(made())


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(name: str, peer: str, path: str) -> None:
    """Print CPU seconds of one round, and the growth of the process in sizes of the mail."""
    work = WORK[name]
    raw = Path(path).read_bytes()
    before = peak()
    begun = time.process_time()
    for _ in range(work.repeat):
        work.ours(parse(raw)) if peer == "ours" else work.theirs(email.message_from_bytes(raw))
    seconds = (time.process_time() - begun) / work.repeat
    print(seconds, (peak() - before) / len(raw))


def compare(name: str, rounds: int, path: Path) -> None:
    command = ("-m", "benchmarks.mail_reading", "--one", name, "{peer}", str(path))
    found = medians(["ours", "stdlib"], rounds, *command)
    (ours, memory), (stdlib, more) = found["ours"], found["stdlib"]
    sizes = f"{memory:6.2f} x  {more:6.2f} x" if WORK[name].mail == "large" else ""
    print(f"{name:34} {ours * 1000:10.3f} ms {stdlib * 1000:10.3f} ms  {stdlib / ours:6.1f}   {sizes}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.make)
        return
    if given.one:
        one(*given.one)
        return
    print(f"{'mail':34} {'ours':>13} {'stdlib':>13}  {'ratio':>6}   memory: ours, stdlib")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(python("-m", "benchmarks.mail_reading", "--make", folder), check=True)
        for name, work in WORK.items():
            compare(name, 3 if given.quick else 7, Path(folder) / work.mail)


if __name__ == "__main__":
    main()
