"""Makes JSON Schema of the types of answers: TypedDicts whose keys have docstrings."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

Schema = dict[str, Any]

_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
}


class Schemas:
    """The schemas of TypedDicts, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """Return the schema of a type."""
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if is_typeddict(kind):
            return self._reference(kind)
        origin, members = get_origin(kind), get_args(kind)
        if origin is Literal:
            return {"enum": list(members)}
        if origin in (Union, UnionType):
            return {"anyOf": [self.of(each) for each in members]}
        if origin is list:
            return {"type": "array", "items": self.of(members[0])}
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.of(members[1])}
        raise TypeError(f"{kind!r} has no schema")

    def _reference(self, kind: Any) -> Schema:
        name = kind.__name__
        if name not in self.by_name:
            self.by_name[name] = {}  # it may contain itself
            self.by_name[name] = self._object(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, kind: Any) -> Schema:
        words = docstrings(kind)
        properties = {key: {**self.of(each), "description": words[key]} for key, each in get_type_hints(kind).items()}
        found: Schema = {"type": "object", "description": inspect.getdoc(kind), "properties": properties}
        if kind.__required_keys__:
            found["required"] = [key for key in properties if key in kind.__required_keys__]
        return {**found, "additionalProperties": False}


def docstrings(kind: Any) -> dict[str, str]:
    """Return the docstring under each key of a class and of its bases, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for base in tree.bases:  # a TypedDict does not know them before Python 3.12
        if isinstance(base, ast.Name) and is_typeddict(above := getattr(inspect.getmodule(kind), base.id)):
            found |= docstrings(above)
    for key, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name) and isinstance(below, ast.Expr):
            found[key.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found
