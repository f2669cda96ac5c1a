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
        from pydantic_core import core_schema  # pydantic alone calls this, so it is installed then

        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        from_python = core_schema.union_schema([core_schema.is_instance_schema(cls), from_text])
        shown = core_schema.plain_serializer_function_ser_schema(lambda secret: "***" if secret else "")
        return core_schema.json_or_python_schema(json_schema=from_text, python_schema=from_python, serialization=shown)
