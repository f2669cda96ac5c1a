"""Read a folder of real mails as a consumer reads them, and print what came out. Nothing is written.

.venv/bin/python tests/tools/read_maildir.py DIR            a maildir, an mbox file, or any folder of mails
.venv/bin/python tests/tools/read_maildir.py DIR --show 17  mail 17 as a handler sees it
.venv/bin/python tests/tools/read_maildir.py DIR --list     one line for each mail that looks badly read
"""

import argparse
import itertools
import mmap
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from protocols.mail.message import InboundEmail

BIGGEST = 100 * 1024 * 1024
"""Bytes of a mail that is read; a larger file is left out."""
MBOX = b"From "
REPLACED = "\ufffd"


@dataclass(frozen=True)
class Stored:
    """A mail, and where it is stored."""

    place: str
    raw: bytes


@dataclass
class Result:
    """What became of one mail."""

    number: int
    place: str
    size: int
    seconds: float = 0.0
    kind: str = "error"
    signs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.number:7} {self.seconds * 1000:9.2f} ms {self.size:11,} B  {self.kind:10}  {self.place}"


def stored_mails(path: Path) -> Iterator[Stored]:
    """Yield each mail below ``path``, in the order of the names."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    for each in files:
        yield from _mails_of(each)


def _mails_of(path: Path) -> Iterator[Stored]:
    with path.open("rb") as file:
        start = file.read(len(MBOX))
        file.seek(0)
        if start == MBOX:
            yield from _mbox(path, file.fileno())
        elif start and path.stat().st_size <= BIGGEST:
            yield Stored(str(path), file.read())


def _mbox(path: Path, descriptor: int) -> Iterator[Stored]:
    """Yield the mails of an mbox file: each begins with a line ``From`` after a blank line."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        starts = [0, *(match.end() - len(MBOX) for match in re.finditer(rb"\n\r?\nFrom ", content)), len(content)]
        for number, (start, end) in enumerate(itertools.pairwise(starts)):
            if end - start <= BIGGEST:
                yield Stored(f"{path}#{number}", content[start:end])


SIGNS: dict[str, Callable[[InboundEmail], object]] = {
    "no subject": lambda message: not message.subject.strip(),
    "no sender": lambda message: not message.sender,
    "no date": lambda message: message.date is None,
    "no text": lambda message: not message.text.strip(),
    "no text and no attachment": lambda message: not message.text.strip() and not message.attachments,
    "U+FFFD in the text": lambda message: REPLACED in message.text,
    "U+FFFD in the subject": lambda message: REPLACED in message.subject,
    "U+FFFD in a file name": lambda message: any(REPLACED in each.filename for each in message.attachments),
    "encoded word in the subject": lambda message: re.search(r"=\?[\w-]+\?[bq]\?", message.subject, re.IGNORECASE),
    "HTML in the text": lambda message: re.search(r"</(?:p|div|td|html)>", message.text, re.IGNORECASE),
    "reply_text shorter than text": lambda message: len(message.reply_text.strip()) < len(message.text.strip()),
    "attachments": lambda message: message.attachments,
    "inline pictures": lambda message: any(each.inline for each in message.attachments),
    "invitations": lambda message: message.calendar,
    "encrypted": lambda message: message.encrypted,
    "signed": lambda message: message.signed,
    "spam": lambda message: message.spam is not None,
    "bounce without a recipient": lambda message: message.bounce is not None and not message.bounce.recipient,
    "defects": lambda message: message.defects,
}
DOUBTFUL = [name for name in SIGNS if name.startswith(("no ", "U+", "encoded word", "HTML", "bounce"))]


def read(number: int, stored: Stored) -> Result:
    """Read a mail in full. An exception is a result, too: the reader must not raise."""
    result = Result(number, stored.place, len(stored.raw))
    start = time.thread_time()
    try:
        message = InboundEmail(stored.raw)
        result.signs = [name for name, test in SIGNS.items() if test(message)]
        result.signs += [f"defect: {each}" for each in message.defects]
        for attachment in message.attachments:
            attachment.read()
        result.kind = message.kind
    except Exception as error:
        result.signs.append(f"raised {type(error).__name__}: {error}")
    result.seconds = time.thread_time() - start
    return result


def print_table(results: list[Result], listed: bool) -> None:
    seconds, size = sum(each.seconds for each in results), sum(each.size for each in results)
    print(f"{len(results)} mails, {size:,} bytes, {seconds:.2f} CPU seconds")
    if not results:
        return
    _print_counts("kind", Counter(each.kind for each in results))
    signs = Counter(sign for each in results for sign in each.signs)
    _print_counts("what was seen", Counter({name: signs[name] for name in SIGNS}))
    _print_counts("defects and errors", Counter({name: count for name, count in signs.items() if name not in SIGNS}))
    _print_results("slowest", sorted(results, key=lambda each: -each.seconds)[:5])
    _print_results("biggest", sorted(results, key=lambda each: -each.size)[:5])
    if listed:
        _print_results("doubtful", [each for each in results if _doubts(each)])


def _doubts(result: Result) -> list[str]:
    return [sign for sign in result.signs if sign in DOUBTFUL or sign.startswith("raised")]


def _print_counts(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}")
    for name, count in counts.most_common(40):
        print(f"{count:7}  {name[:150]}")


def _print_results(title: str, results: list[Result]) -> None:
    print(f"\n{title}")
    for each in results:
        print(each, *_doubts(each), sep="  ")


def print_mail(stored: Stored) -> None:
    message = InboundEmail(stored.raw)
    print(stored.place)
    for name in (
        "subject",
        "sender",
        "to",
        "cc",
        "reply_to",
        "date",
        "message_id",
        "in_reply_to",
        "kind",
        "bounce",
        "spam",
    ):
        print(f"{name + ':':14}{getattr(message, name)}")
    for name in ("encrypted", "signed", "calendar", "defects"):
        print(f"{name + ':':14}{getattr(message, name)!r}")
    for each in message.attachments:
        print(f"attachment:   {each.filename}  {each.content_type}  {each.size:,} bytes{'  inline' * each.inline}")
    for name in ("text", "reply_text"):
        print(f"\n----- {name}\n{getattr(message, name)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, metavar="DIR")
    parser.add_argument("--show", type=int, metavar="N", help="print mail N in full")
    parser.add_argument("--list", action="store_true", help="print a line for each doubtful mail")
    options = parser.parse_args(arguments)
    numbered = enumerate(stored_mails(options.path))
    if options.show is None:
        print_table([read(number, stored) for number, stored in numbered], options.list)
        return 0
    for number, stored in numbered:
        if number == options.show:
            print_mail(stored)
            return 0
    print(f"There is no mail {options.show} in {options.path}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
