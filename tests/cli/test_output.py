"""Tables for people: whole, and no wider than the terminal."""

from authserver.cli.output import table

COLUMNS = ("id", "active", "scope")


def test_columns_are_as_wide_as_their_widest_text() -> None:
    rows = [["my-clinic", "yes", "system/Patient.rs"], ["x", "", ""]]

    assert list(table(COLUMNS, rows, width=80)) == [
        "id         active  scope",
        "my-clinic  yes     system/Patient.rs",
        "x",
    ]


def test_what_does_not_fit_goes_on_below() -> None:
    rows = [["my-clinic", "yes", "system/Patient.rs system/Observation.rs"]]

    assert list(table(COLUMNS, rows, width=44)) == [
        "id         active  scope",
        "my-clinic  yes     system/Patient.rs",
        "                   system/Observation.rs",
    ]


def test_a_word_that_is_too_long_is_broken_not_cut() -> None:
    lines = list(table(("value",), [["x" * 30]], width=12))

    assert lines == ["value", "x" * 12, "x" * 12, "x" * 6]


def test_a_very_narrow_terminal_gets_lines_that_are_too_long() -> None:
    assert list(table(("id", "name"), [["a" * 12, "b" * 12]], width=5)) == [
        "id            name",
        f"{'a' * 12}  {'b' * 12}",
    ]


def test_a_table_without_rows_is_its_heading() -> None:
    assert list(table(COLUMNS, [], width=80)) == ["id  active  scope"]
