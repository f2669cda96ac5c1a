"""The keyword of a text: its first word, by which people answer a program. Pure."""

import unicodedata
from collections.abc import Iterable

STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "ARRET", "ARRÊT"})
"""Words that end a subscription, as providers and networks know them (CTIA's guidelines, and French in Canada)."""
START = frozenset({"START", "UNSTOP"})
"""Words that begin it again. YES, which some providers know too, is an answer to a question more often."""
HELP = frozenset({"HELP", "INFO", "AIDE"})
FAMILIES = {"STOP": STOP, "START": START, "HELP": HELP}

_BEGINNING = 256
"""Characters of a text in which its first word is looked for."""
_LIKE_I = {0x131: "i", 0x307: None}  # Turkish has an i with and without a dot in both cases; phones mix them
_INSIDE = frozenset("'\u2019-\u200c\u200d")
"""Characters that may stand within a word: apostrophes, the hyphen, and the joiners of Persian and Hindi."""


def keyword_of(text: str) -> str:
    """Return the first word of ``text`` in capitals, without the punctuation around it; empty if it has none.

    ``Stop!``, ``"STOP"`` and the letters of full width are STOP. A text without letters and digits has its first signs:
    an emoji, say.
    """
    word, rest = _first_word(_plain(text[:_BEGINNING]))
    return word or next(iter(rest.split()), "")


def is_only_keyword(text: str, words: Iterable[str]) -> bool:
    """Whether ``text`` is one of ``words`` and nothing else: "Cancel my order" is not CANCEL."""
    if len(text) > _BEGINNING:
        return False
    word, rest = _first_word(_plain(text))
    return word in words and not any(map(_is_of_word, rest))


def _plain(text: str) -> str:
    """Capitals, in one form of each character (NFKC), without what no one sees."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_LIKE_I).upper()
    return "".join(each for each in unicodedata.normalize("NFC", folded) if each in _INSIDE or _is_seen(each))


def _is_seen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def _first_word(text: str) -> tuple[str, str]:
    """Return the first word, and what comes after it; an empty word, and everything, if there is none."""
    begin = next((at for at, each in enumerate(text) if _is_of_word(each)), None)
    if begin is None:
        return "", text
    inside = (at for at in range(begin, len(text)) if not _is_of_word(text[at]) and text[at] not in _INSIDE)
    end = next(inside, len(text))
    return text[begin:end].rstrip("".join(_INSIDE)), text[end:]


def _is_of_word(character: str) -> bool:
    """Letters, digits and marks: the vowels of Hindi are marks."""
    return unicodedata.category(character)[0] in "LNM"
