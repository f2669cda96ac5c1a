"""What kinds of mail there are; docs/consumers.md has them in words."""

from typing import Literal

Kind = Literal["person", "bounce", "auto-reply", "list", "own", "report"]
