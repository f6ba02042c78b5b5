"""What commands print: a table on a terminal, plain columns in a pipe, JSON when asked. Progress goes to stderr."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Literal

import click


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
        _table(columns, texts)
        return
    for row in [[column.upper() for column in columns], *texts]:
        click.echo("\t".join(" ".join(value.split()) for value in row))


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    Console().print(table)  # minds NO_COLOR by itself
