"""What commands print: a table on a terminal, plain columns in a pipe, JSON when asked. Progress goes to stderr."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Literal

import click

_GAP = "  "
_NARROWEST = 12


def is_terminal(stream: Literal["stdout", "stderr"] = "stdout") -> bool:
    """Say whether a person is looking at the stream."""
    return (sys.stdout if stream == "stdout" else sys.stderr).isatty()


def print_json(document: object) -> None:
    """Print a document as JSON: indented for a person, in one line for a pipe."""
    click.echo(json.dumps(document, indent=2 if is_terminal() else None, ensure_ascii=False))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under their columns. In a pipe: tabs between, a heading line, nothing cut short."""
    texts = [[str(value) for value in row] for row in rows]
    if is_terminal():
        heading, *lines = table(columns, texts, width=shutil.get_terminal_size().columns)
        click.secho(heading, bold=True)
        click.echo("".join(f"{line}\n" for line in lines), nl=False)
        return
    for row in [[column.upper() for column in columns], *texts]:
        click.echo("\t".join(" ".join(value.split()) for value in row))


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> Iterator[str]:
    """Yield the lines of a table: no wider than `width` characters, as long as no column gets very narrow.

    What does not fit into its column goes on below; nothing is cut short.
    """
    lines = [columns, *rows]
    widths = _widths(lines, width)
    for line in lines:
        cells = [textwrap.wrap(text, size, break_on_hyphens=False) for text, size in zip(line, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            yield _GAP.join(f"{part:<{size}}" for part, size in zip(parts, widths, strict=True)).rstrip()


def _widths(lines: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return how wide each column is: as its widest text, the widest ones narrowed until all fit."""
    widths = [max(1, *map(len, texts)) for texts in zip(*lines, strict=True)]
    left = width - len(_GAP) * (len(widths) - 1)
    while sum(widths) > left and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths
