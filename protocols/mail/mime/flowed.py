"""Joins the lines of ``text/plain; format=flowed`` (RFC 3676) into paragraphs. Pure, and linear."""

from collections.abc import Iterator


def unflowed(text: str, *, delsp: bool = False) -> str:
    """Return ``text`` with each paragraph on one line. Quoted lines keep a ``>`` for each level of their quotation.

    With ``delsp`` the space at which a line was broken is no part of the text: Chinese and Japanese have none there.
    """
    return "\n".join(_paragraphs(text, delsp=delsp))


def _paragraphs(text: str, *, delsp: bool) -> Iterator[str]:
    pieces: list[str] = []
    depth = 0
    for line in text.split("\n"):
        quoted = len(line) - len(line.lstrip(">"))
        words = line[quoted:].removeprefix(" ")
        signature = words == "-- "
        if pieces and (quoted != depth or signature):
            yield _line(depth, pieces)
            pieces = []
        flows = words.endswith(" ") and not signature
        pieces.append(words[:-1] if flows and delsp else words)
        depth = quoted
        if not flows:
            yield _line(depth, pieces)
            pieces = []
    if pieces:
        yield _line(depth, pieces)


def _line(depth: int, pieces: list[str]) -> str:
    words = "".join(pieces)
    return f"{'>' * depth} {words}" if depth and words else ">" * depth + words
