"""How texts are traced. A text has no place for a trace."""

from typing import ClassVar

from gateway.tracing.traced import Traced


class TracedText(Traced):
    is_rare: ClassVar = True
