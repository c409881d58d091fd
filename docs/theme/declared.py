"""Where a notebook declares tables and columns: what the dictionary's pages lead to, and what leads back to them."""

import re
from collections.abc import Iterator

from cdmeventimporters.core.spec import LINEAGE, RESCUED_DATA, Column
from cdmeventimporters.dev.dictionary import Entry

# around the anchor of a name in a notebook's source, until it is HTML; no notebook has these private characters
_BEGIN, _END = "\ue000", "\ue001"
_MARKED = re.compile(rf"{_BEGIN}(.*?) (.*?){_END}" + r'([^"&<]*)')

Place = tuple[int, int]  # number of a code cell, and where in it


def _place(code: list[str], cells: list[int], pattern: str) -> Place | None:
    """Return where the first of these cells that matches does so, behind the match."""
    found = ((n, re.search(pattern, code[n])) for n in cells)
    return next(((n, match.end()) for n, match in found if match), None)


def _name_of(column: Column) -> str:
    """Return the pattern of what begins a column's declaration: a call with its name or its header."""
    names = "|".join(re.escape(name) for name in (column.name, column.header) if name)
    return rf'\w\(\s*"(?=(?:{names})")'


def _places(code: list[str], entry: Entry) -> Iterator[tuple[str, Place]]:
    """Yield the names of a table's columns with where each is declared: with the table, before it, or by a loop in it."""
    table = _place(code, list(range(len(code))), rf'\bTable\(\s*(?:"(?={entry.table.name}")|f")')
    near = list(range(table[0], -1, -1))
    for column in entry.table.tool_columns:
        yield column.name, _place(code, near, _name_of(column)) or table


def _marked(code: list[str], marks: dict[Place, str]) -> list[str]:
    """Return code cells with anchors at these places."""
    cells = list(code)
    for number, at in sorted(marks, reverse=True):
        cells[number] = f"{cells[number][:at]}{_BEGIN}{marks[number, at]}{_END}{cells[number][at:]}"
    return cells


def mark(code: list[str], entries: list[Entry]) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Return code cells with an anchor for each column that they declare, and the anchors by table and column."""
    marks, anchors = {}, {}
    for entry in entries:
        name = entry.short_name
        for column, place in _places(code, entry):
            first = marks.setdefault(place, f"{name}-{column} dictionary/tables/{name}.html#{column}")
            anchors[name, column] = first.split(" ")[0]
    return _marked(code, marks), anchors


def mark_lineage(code: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return code cells with an anchor for each column that every table has, and the anchors by column."""
    marks, anchors = {}, {}
    for column in (*LINEAGE, RESCUED_DATA):
        anchors[column.name] = f"column-{column.name}"
        place = _place(code, list(range(len(code))), _name_of(column))
        marks[place] = f"{anchors[column.name]} docs/analysts.html#what-every-table-has"
    return _marked(code, marks), anchors


def as_links(html: str, root: str) -> str:
    """Return a notebook's HTML with its anchors as links to the dictionary; `root` leads to the site's start."""

    def link(match: re.Match) -> str:
        anchor, target, text = match.groups()
        inside = f'<a href="{root}{target}">{text}</a>' if text else ""
        return f'<span id="{anchor}">{inside}</span>'

    return _MARKED.sub(link, html)
