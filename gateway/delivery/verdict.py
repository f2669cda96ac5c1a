"""What each protocol calls accepted, refused and deferred."""

from typing import Any


def accept(kind: str) -> dict[str, Any]:
    return {"type": f"{kind}.accept"}


def refuse(kind: str) -> dict[str, Any]:
    return {"type": f"{kind}.reject", "reason": "it cannot be handled"}


def defer(kind: str) -> dict[str, Any]:
    return {"type": f"{kind}.defer"}
