"""How much of a message's bounds is used, and what was left out because of them."""

from protocols.mail.mime.limits import Limits
from protocols.mail.mime.part import Part


class Bounds:
    """What all parts of one message share, those of attached messages included."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parts = 0
        self._opened = 0
        self.defects: list[str] = []

    def note(self, sentence: str) -> None:
        """Add a sentence to the defects, once."""
        if sentence not in self.defects:
            self.defects.append(sentence)

    def count_part(self) -> None:
        self._parts += 1

    def is_full(self) -> bool:
        """Whether there are as many parts as are allowed. Then that is a defect."""
        if self._parts < self._limits.parts:
            return False
        self.note(f"Only the first {self._limits.parts:,} parts are read.")
        return True

    def is_deep(self, part: Part) -> bool:
        """Whether nothing may be inside ``part``, because it is inside too many others. Then that is a defect."""
        if part.depth < self._limits.depth:
            return False
        self.note(f"Parts inside more than {self._limits.depth} others are not read.")
        return True

    def may_decode(self, part: Part) -> bool:
        """Whether ``part`` may be decoded to be opened, with all that were before it; if not, that is a defect."""
        self._opened += part.size
        if self._opened <= self._limits.opened:
            return True
        self.note(f"Attached messages of more than {self._limits.opened:,} bytes in all are not opened.")
        return False
