"""The result as Markdown: tables with ratios, since absolute figures are those of one machine on one day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.runs import Series

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass
class Report:
    """What was measured, in the order in which it was."""

    parts: list[str] = field(default_factory=list)

    def facts(self, title: str, facts: Mapping[str, str]) -> None:
        """Add a table of two columns."""
        self.table(title, ["", ""], [[name, value] for name, value in facts.items()])

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        lines = [f"### {title}", "", _row(heads), _row(["---"] * len(heads)), *map(_row, rows), ""]
        self.parts.append("\n".join(lines))

    def contest(self, title: str, found: Sequence[Series]) -> None:
        """Add what contenders gave, each beside the first."""
        rows = []
        for series in found:
            ratio = found[0].per_second / series.per_second
            rows.append(
                [
                    series.name,
                    f"{series.per_second:,.0f}",
                    "" if series is found[0] else f"{ratio:.2f}",
                    f"{series.p50 / 1000:.2f}",
                    f"{series.p99 / 1000:.2f}",
                    f"{series.cpu_each:,.0f}",
                    str(series.failures),
                ]
            )
        heads = ["", "a second", "first : this", "p50 ms", "p99 ms", "server CPU µs", "failed"]
        self.table(title, heads, rows)

    @property
    def text(self) -> str:
        """The whole report."""
        return "\n".join(self.parts)

    def write_into(self, page: Path) -> None:
        """Put the report between the two marks of a page; raises ValueError when it has none."""
        before, begin, rest = page.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{page} has no {BEGIN} and {END}")
        page.write_text(f"{before}{BEGIN}\n\n{self.text}\n{END}{after}")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
