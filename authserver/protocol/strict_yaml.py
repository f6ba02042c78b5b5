"""YAML that means one JSON value, read and written: YAML 1.2's core words, and nothing that JSON has not.

Read from the parser's events, so no tag makes an object and no alias grows; `no`, `0x1F` and `2024-01-01` are texts.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from authserver.protocol.strict_json import MAX_DEPTH

MAX_BYTES = 65_536
"""Bytes of a document: the parser takes some microseconds for each."""

_NULL = re.compile(r"~|null|Null|NULL|", re.ASCII)
_TRUE, _FALSE = re.compile(r"true|True|TRUE", re.ASCII), re.compile(r"false|False|FALSE", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,31})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{1,32})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_OTHER_LINE_ENDS = re.compile("[\r\x85\u2028\u2029]")


class MalformedYaml(ValueError):
    """The text is not one unambiguous value; the message says why and where, without quoting it."""


class DuplicateKey(MalformedYaml):
    """A mapping names a key twice, so that two readers could understand two things."""


def loads(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Parse one YAML document in UTF-8 and return the value.

    Raises MalformedYaml for duplicate keys, keys that are no texts, anchors, aliases, tags, merge keys, infinite and
    over-long numbers, several documents, nesting deeper than 32, and more than `max_bytes` bytes.
    """
    if len(data) > max_bytes:
        raise MalformedYaml("the document is too large")
    try:
        events = yaml.parse(data.decode("utf-8"), Loader=yaml.SafeLoader)
        return _document(_vetted(events))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise MalformedYaml(f"not well-formed YAML{'' if mark is None else _at(mark)}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedYaml("not well-formed YAML in UTF-8") from error


def dumps(value: Any) -> str:
    """Return the value, made of what JSON has, as YAML that loads() reads as the same value; members in their order."""
    return yaml.dump(value, Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120)


def _vetted(events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """Yield the events as they come, so that nothing is read behind one that is refused."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise MalformedYaml(f"anchors and aliases are not taken{_at(event.start_mark)}")
        if getattr(event, "tag", None) is not None:
            raise MalformedYaml(f"tags are not taken{_at(event.start_mark)}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise MalformedYaml(f"nested too deeply{_at(event.start_mark)}")
        yield event


def _document(events: Iterator[yaml.Event]) -> Any:
    value, documents = None, 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise MalformedYaml(f"one document is taken{_at(event.start_mark)}")
            value = _value(next(events), events)
    if not documents:
        raise MalformedYaml("there is no document")
    return value


def _value(event: yaml.Event, events: Iterator[yaml.Event]) -> Any:
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_value(item, events) for item in _until(yaml.SequenceEndEvent, events)]
    return _mapping(events)


def _mapping(events: Iterator[yaml.Event]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key in _until(yaml.MappingEndEvent, events):
        name = _key(key)
        if name is None:
            raise MalformedYaml(f"a key must be a text{_at(key.start_mark)}")
        if name in members:
            raise DuplicateKey(f"a key appears twice in one mapping{_at(key.start_mark)}")
        members[name] = _value(next(events), events)
    return members


def _key(event: yaml.Event) -> str | None:
    """Return the key when it is a text; an unquoted `<<` is none, since other readers merge by it."""
    if not isinstance(event, yaml.ScalarEvent) or (event.value == "<<" and event.style is None):
        return None
    name = _scalar(event)
    return name if isinstance(name, str) else None


def _until(end: type[yaml.Event], events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    for event in events:
        if isinstance(event, end):
            return
        yield event


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.style is not None:
        return text  # quoted, or a block
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise MalformedYaml(f"a number is too large{_at(event.start_mark)}")
        return number
    return text


def _at(mark: Any) -> str:
    return f" (line {mark.line + 1}, column {mark.column + 1})"


class _Writer(yaml.SafeDumper):
    """Writes no anchors, and quotes every text that loads() or another reader would take for something else."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write a value that occurs twice twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 -- PyYAML's signature
        """Indent lists below their member."""
        super().increase_indent(flow, indentless=False)


_Writer.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^(?:{_NUMBER.pattern})$"), list("-0123456789"))


def _text(writer: _Writer, text: str) -> yaml.Node:
    """Escape what YAML 1.1 takes for the end of a line besides LF, which unquoted would be read as a space."""
    style = '"' if _OTHER_LINE_ENDS.search(text) else None
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)
