"""Reads YAML text as a Document: plain data, with the place of every key and value.

Some rules differ from YAML 1.1, because people have been hurt by those: only ``true`` and ``false`` are booleans (so
``on``, ``no`` and ``yes`` stay text); only plain decimal numbers are numbers (so ``+15551234567``, ``0123`` and
``12:30:45`` stay text); a mapping must not repeat a key; tags are refused; and what aliases repeat is bounded.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.config.diagnostics import ConfigErrors, Diagnostic
from gateway.config.document import Document, Loc, Span
from gateway.config.environment import Unset, expand, has_reference
from gateway.config.masking import holds_secret, names_only

DEPTH = 32
_LENGTH = 20_000_000
_REPEATED = 100_000
_REPEATED_EACH = 10
"""Bounds of a file: nesting, characters, and values that aliases repeat (in all, and for each value that is written).
Memory grows in proportion to the file."""

_NAMES: Loc = ("servers",)
"""The settings whose keys are names that the user chooses. A server may be called ``secure`` or ``auth``."""
_PLAIN = "plain"
_TEXT, _LIST, _MAPPING = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_TAGS = {_PLAIN, _TEXT, _LIST, _MAPPING}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # YAML's own
_SEEN_OTHERWISE = re.compile("[\t\ufeff]")
"""Characters that libyaml accepts and PyYAML refuses, or that the two count differently."""
_HINTS = (
    ("'\\t' that cannot start", "indent with spaces"),
    ("cannot start any token", "put the value in quotes"),
    ("unknown escape", "in double quotes write \\\\ for a backslash; in single quotes it stands for itself"),
    ("alias", "a value that begins with * needs quotes"),
    ("anchor", "a value that begins with & needs quotes"),
    ("mapping values", "is a ':' missing in the line before, or one too many in a value without quotes?"),
    ("but got '{'", "a value with braces needs quotes"),
    ("another document", "leave out what comes after '---'"),
)
"""Hints for PyYAML's error messages, each by a part of the message."""

# In a flow mapping a brace ends a plain scalar, yet {password: ${PASSWORD}} is what people write. So the braces of
# references pass the scanner as private characters, one for one: columns stay as they are.
_REFERENCE = re.compile(r"\$\{([^{}\"'\n]*)\}")
_SHIELD = "$\ue000{}\ue001"
_UNSHIELD = str.maketrans("\ue000\ue001", "{}")


class _TooDeep(yaml.MarkedYAMLError):
    """The values are nested deeper than DEPTH."""


class _Rules:
    """Keeps PyYAML's loaders from resolving plain scalars (we do that), and bounds the nesting."""

    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return _LIST if kind is yaml.SequenceNode else _MAPPING

    def descend_resolver(self, parent: yaml.Node | None, index: Any) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            mark = self.get_mark() if isinstance(self, yaml.reader.Reader) else None
            raise _TooDeep(problem="it is nested too deeply", problem_mark=mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _Loader(_Rules, yaml.SafeLoader):
    """PyYAML's own loader: it is slow, and reports mistakes well."""


class _FastLoader(_Rules, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # PyYAML may lack libyaml
    """The loader of libyaml, which is ten times as fast."""


def _compose(text: str) -> yaml.Node | None:
    """Parse the text into a node, or None if it is empty. Raises what PyYAML's own parser raises."""
    shielded = _REFERENCE.sub(lambda match: _SHIELD.format(match[1]), text)
    if _SEEN_OTHERWISE.search(text):
        return _Loader(shielded).get_single_node()
    try:
        node: yaml.Node | None = _FastLoader(shielded).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError):
        return _Loader(shielded).get_single_node()
    return node


class _Reader:
    """Walks the node tree once and fills a Document."""

    def __init__(self, name: str, folder: Path, text: str, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._read: set[int] = set()
        self._written = self._repeated = 0
        lines = _LINE_END.split(text)
        if not lines[-1]:  # the last line has an end
            lines.pop()
        self._document = Document(name, folder, lines, {}, {}, {}, {}, {}, {}, set(), [])

    def read(self, text: str) -> Document:
        try:
            root = _compose(text)
        except yaml.MarkedYAMLError as error:
            raise self._broken(error.problem_mark, _sentence(error)) from error
        except yaml.reader.ReaderError as error:
            lines = _LINE_END.split(text[: error.position])
            mark = yaml.Mark("", 0, len(lines) - 1, len(lines[-1]), None, 0)
            raise self._broken(mark, f"the character {chr(error.character)!r} is not allowed") from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML's own int() and chr() of what it scanned
            raise self._broken(None, str(error)) from error
        data = {} if root is None else self._node(root, (), secret=False, repeated=False)
        return Document(**(vars(self._document) | {"data": data}))

    def _broken(self, mark: yaml.Mark | None, message: str) -> ConfigErrors:
        last = len(self._document.lines) - 1
        span = Span(mark.line, mark.column, mark.column + 1) if mark else Span(0, 0, 1)
        if span.line > last >= 0:  # the end of the file: show where that is
            span = Span(last, len(self._document.lines[last]), len(self._document.lines[last]) + 1)
        return ConfigErrors([self._document.diagnostic(span, f"this is not YAML: {message}")])

    def _node(self, node: yaml.Node, loc: Loc, *, secret: bool, repeated: bool) -> Any:
        """Read a node. ``repeated``: it is part of what an alias repeats."""
        span = self._span(node)
        repeated = self._is_bounded(node, span, loc, repeated=repeated)
        self._document.values[loc] = span
        if node.tag not in _TAGS:
            return self._problem(span, loc, f"the tag {node.tag!r} is not supported")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc, secret=secret)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc, secret=secret, repeated=repeated)
        children = enumerate(node.value)
        return [self._node(child, (*loc, index), secret=secret, repeated=repeated) for index, child in children]

    def _is_bounded(self, node: yaml.Node, span: Span, loc: Loc, *, repeated: bool) -> bool:
        """Return whether an alias repeats ``node``. Raises ConfigErrors if the file has too many repeated values."""
        if not isinstance(node, yaml.ScalarNode):
            repeated |= id(node) in self._read
            self._read.add(id(node))
        self._written += not repeated
        self._repeated += repeated
        if self._repeated > _REPEATED + _REPEATED_EACH * self._written or len(loc) > DEPTH:
            raise ConfigErrors([self._document.diagnostic(span, "too many values; does an anchor repeat itself?")])
        return repeated

    def _mapping(self, node: yaml.MappingNode, loc: Loc, *, secret: bool, repeated: bool) -> dict[str, Any] | None:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            span = self._span(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or not _is_text(key_node.value):
                self._document.problems.append((span, "a key must be text"))
                continue
            key = key_node.value.translate(_UNSHIELD)
            if mistake := _mistake_of_form(key_node, value_node, flow=node.flow_style):
                self._problem(span, loc, mistake)
                return None
            if key in data:
                first = self._document.keys[*loc, key].line + 1
                self._document.problems.append((span, f"key {key!r} appears twice; the first is on line {first}"))
                continue
            self._document.keys[*loc, key] = span
            is_name = loc == _NAMES and isinstance(value_node, yaml.MappingNode)
            secrets = secret or (holds_secret(key) and not is_name)
            data[key] = self._node(value_node, (*loc, key), secret=secrets, repeated=repeated)
        return data

    def _scalar(self, node: yaml.ScalarNode, loc: Loc, *, secret: bool) -> Any:
        text: str = node.value.translate(_UNSHIELD)
        if secret and not names_only(text):
            self._document.secrets[loc] = tuple(self._spans(node))
        if not _is_text(text):
            return self._problem(self._span(node), loc, "this is not text")
        if has_reference(text):
            return self._expanded(node, text, loc)
        return _resolve(text, self._document.texts, loc) if node.tag == _PLAIN else text

    def _expanded(self, node: yaml.ScalarNode, written: str, loc: Loc) -> Any:
        try:
            text, values = expand(written, self._environ, self._document.folder)
        except Unset as error:
            return self._problem(self._span(node, error.reference), loc, str(error))
        if not _is_text(text):
            return self._problem(self._span(node), loc, f"the value of {written} is not text")
        self._document.references[loc] = {written: text} | values
        value = _resolve(text, self._document.texts, loc) if node.tag == _PLAIN else text
        return text if value is None else value

    def _problem(self, span: Span, loc: Loc, message: str) -> None:
        self._document.problems.append((span, message))
        self._document.unset.add(loc)

    def _span(self, node: yaml.Node, part: str = "") -> Span:
        """The place of ``node``, or of ``part`` if the node's first line contains that."""
        start, end = node.start_mark, node.end_mark
        line = self._document.lines[start.line] if start.line < len(self._document.lines) else ""
        last = end.column if end.line == start.line else len(line)
        if part and (found := line.find(part, start.column)) >= 0:
            return Span(start.line, found, found + len(part))
        if isinstance(node, yaml.MappingNode) and not node.flow_style:
            last = start.column + 1
        return Span(start.line, start.column, max(last, start.column + 1))

    def _spans(self, node: yaml.Node) -> list[Span]:
        start, end = node.start_mark, node.end_mark
        spans = []
        for line in range(start.line, min(end.line + 1, len(self._document.lines))):
            text = self._document.lines[line]
            first = start.column if line == start.line else len(text) - len(text.lstrip())
            last = end.column if line == end.line else len(text)
            if last > first:
                spans.append(Span(line, first, last))
        return spans


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """Return PyYAML's message, the place where the problem began, and a hint."""
    problem, context = (error.problem or "").removeprefix("but "), error.context or ""
    if error.context_mark and error.problem_mark and error.context_mark.line != error.problem_mark.line:
        context += f" that begins on line {error.context_mark.line + 1}"
    text = ", ".join(part for part in (problem, context) if part)
    hint = next((hint for part, hint in _HINTS if part in text), "")
    return f"{text}; {hint}" if hint else text


def _mistake_of_form(key: yaml.ScalarNode, value: yaml.Node, *, flow: bool) -> str | None:
    """Return what is wrong with a key that is valid YAML and certainly not meant."""
    text = key.value.translate(_UNSHIELD)
    if key.tag == _PLAIN and text == "<<":
        return "merge keys (<<) are not supported; write the keys themselves"
    if flow and key.tag == _PLAIN and ":" in text and value.tag == _PLAIN and not value.value:
        return f"write a space after the colon: {text.replace(':', ': ', 1)}"
    return None


def _is_text(value: object) -> bool:
    """Return whether ``value`` is text that file names and messages can hold: without U+0000, and without lone
    surrogates (from an escape or the environment), which UTF-8 cannot encode."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.isascii() or value.encode("utf-8", "replace") == value.encode("utf-8", "surrogatepass")


def _resolve(text: str, texts: dict[Loc, str], loc: Loc) -> Any:
    """Return the value of a plain scalar, and remember its text in ``texts``."""
    value = plain_value(text)
    if value is not None and not isinstance(value, str):
        texts[loc] = text
    return value


def plain_value(text: str) -> str | bool | float | None:
    """Return the value of a text as it is without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def read(text: str, *, name: str, folder: Path, environ: Mapping[str, str]) -> Document:
    """Read ``text``; messages call it ``name``. Raises ConfigErrors if it is not YAML."""
    reader = _Reader(name, folder, text, environ)
    if len(text) > _LENGTH:
        raise ConfigErrors([Diagnostic(name, 1, 1, f"the file is longer than {_LENGTH} characters")])
    return reader.read(text)
