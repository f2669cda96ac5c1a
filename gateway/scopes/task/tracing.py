"""How tasks are traced."""

from typing import ClassVar

from gateway.tracing.traced import Traced


class TracedTask(Traced):
    is_rare: ClassVar = True
