"""Tables keep their columns and their caption's line."""

import pytest
from rich.table import Table

from fedsim.cli.tables import print_table


@pytest.mark.parametrize("columns", ["40", "200"])
def test_no_column_is_lost_on_a_narrow_terminal(monkeypatch, capsys, columns):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", columns)
    table = Table(*(f"heading{k}" for k in range(8)), caption="word " * 20)
    table.add_row(*"abcdefgh")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert "heading7" in lines[1]
    assert max(line.count("word") for line in lines) == (8 if columns == "40" else 20)


def test_in_a_file_the_caption_is_no_wider_than_the_page(capsys):
    table = Table("a", caption="word " * 40)
    table.add_row("b")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 160
    assert sum(line.count("word") for line in lines) == 40
    assert not any(line.endswith(" ") for line in lines)
