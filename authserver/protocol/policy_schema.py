"""The engine `json-schema`: a request judged by a JSON Schema of draft-07 or 2020-12 (jsonschema). PURE.

Only what bounds its own cost is taken: no reference leaves the schema or leads back to itself, regular expressions
are linear, and a keyword without effect is refused, since the policy would be wider than it reads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from authserver.errors import Issue
from authserver.protocol import schema_reader
from authserver.protocol.linear_regex import Regex, compile_regex
from authserver.protocol.matcho_values import Mismatch
from authserver.protocol.schema_reader import DRAFT_2020

_ERRORS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Schema:
    """A compiled schema; `written` is the resource's own."""

    written: Any
    _validator: Any = field(default=None, compare=False, repr=False)

    def allows(self, document: Mapping[str, Any]) -> bool:
        """Say whether the request, without its empty members, is valid."""
        return bool(self._validator.is_valid(document))

    def mismatches(self, document: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """Return in what the request is not valid: the failed keyword with its value, what is there, and where."""
        found = (_mismatch(error) for error, _ in zip(self._errors(document), range(_ERRORS_SHOWN), strict=False))
        return tuple(found)

    def _errors(self, document: Mapping[str, Any]) -> Iterator[ValidationError]:
        yield from self._validator.iter_errors(document)


def compile_schema(schema: object, *, path: str) -> tuple[Schema | None, tuple[Issue, ...]]:
    """Return the schema, None when it cannot be used, and what is wrong with it, at paths that begin with `path`."""
    if not isinstance(schema, Mapping) or not schema:
        return None, (Issue(path, "must be a schema with at least one keyword", "structure"),)
    draft, issues = schema_reader.read(schema, path=path)
    issues = issues or tuple(_invalid(schema, draft, path))
    if issues:
        return None, issues
    regexes = {source: compile_regex(source) for source in schema_reader.regexes(schema)}
    # An empty registry: nothing outside the schema is known, and nothing fetches it.
    return Schema(schema, _validator_class(draft, regexes)(schema, registry=Registry())), ()


def _invalid(schema: Mapping[str, Any], draft: str, path: str) -> Iterator[Issue]:
    """Ask the draft's own meta-schema: types of keywords' values."""
    try:
        _draft_class(draft).check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        yield Issue(f"{path}{at}", f"no schema of {draft}: {error.validator} does not hold", "value")


def _draft_class(draft: str) -> Any:
    return Draft202012Validator if draft == DRAFT_2020 else Draft7Validator


def _validator_class(draft: str, regexes: Mapping[str, Regex]) -> Any:
    """Return the draft's validator with its three keywords that search by `re` replaced."""

    def pattern(validator: Any, source: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(instance, "string") and not regexes[source].is_found_in(instance):
            yield ValidationError("the expression is not found")

    def pattern_properties(validator: Any, by_pattern: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        for name, value in instance.items() if validator.is_type(instance, "object") else ():
            for source, inner in by_pattern.items():
                if regexes[source].is_found_in(name):
                    yield from validator.descend(value, inner, path=name, schema_path=source)

    def additional(validator: Any, inner: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        others = schema.get("patternProperties", ())
        for name, value in instance.items() if validator.is_type(instance, "object") else ():
            if name in schema.get("properties", ()) or any(regexes[source].is_found_in(name) for source in others):
                continue
            if inner is False:
                yield ValidationError("not allowed", validator=None, instance=value, path=(name,))
            else:
                yield from validator.descend(value, inner, path=name)

    linear = {"pattern": pattern, "patternProperties": pattern_properties, "additionalProperties": additional}
    return validators.extend(_draft_class(draft), linear)


def _mismatch(error: ValidationError) -> Mismatch:
    # A schema `false` fails without a keyword.
    expected = False if error.validator is None else {str(error.validator): error.validator_value}
    return Mismatch(expected, error.instance, tuple(error.absolute_path))
