"""A value that no log, traceback or page may show."""

from typing import Any


class Secret:
    """A password or token. ``str()`` and ``repr()`` show stars; :meth:`reveal` gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "'***'"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """As :mod:`pydantic_core.core_schema` describes it."""
        text = {"type": "str"}
        from_text = {"type": "function-after", "function": {"type": "no-info", "function": cls}, "schema": text}
        return {
            "type": "json-or-python",
            "json_schema": from_text,
            "python_schema": {"type": "union", "choices": [{"type": "is-instance", "cls": cls}, from_text]},
            "serialization": {"type": "function-plain", "function": lambda secret: "***" if secret else ""},
        }
