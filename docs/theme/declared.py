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
    """Yield the names of a table's columns with where each is declared, a column that a loop makes with its table."""
    everywhere = list(range(len(code)))
    table = _place(code, everywhere, rf'\bTable\(\s*(?:"(?={entry.table.name}")|f")')
    near = sorted(everywhere, key=lambda n: n != table[0])
    for column in entry.table.tool_columns:
        yield column.name, _place(code, near, _name_of(column)) or table


def _mark(source: str, marks: dict[int, str]) -> str:
    """Return the source of a cell with anchors at these places."""
    for place in sorted(marks, reverse=True):
        source = f"{source[:place]}{_BEGIN}{marks[place]}{_END}{source[place:]}"
    return source


def mark(code: list[str], entries: list[Entry]) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Return code cells with an anchor for each column that they declare, and the anchors by table and column."""
    marks, anchors = {}, {}
    for entry in entries:
        for column, place in _places(code, entry):
            first = marks.setdefault(
                place, f"{entry.short_name}-{column} dictionary/tables/{entry.short_name}.html#{column}"
            )
            anchors[entry.short_name, column] = first.split(" ")[0]
    cells = [
        _mark(source, {at: x for (n, at), x in marks.items() if n == number}) for number, source in enumerate(code)
    ]
    return cells, anchors


def mark_lineage(code: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return code cells with an anchor for each column that every table has, and the anchors by column."""
    everywhere = list(range(len(code)))
    marks = {_place(code, everywhere, _name_of(column)): column.name for column in (*LINEAGE, RESCUED_DATA)}
    texts = {place: f"column-{name} docs/analysts.html#what-every-table-has" for place, name in marks.items()}
    cells = [
        _mark(source, {at: x for (n, at), x in texts.items() if n == number}) for number, source in enumerate(code)
    ]
    return cells, {name: f"column-{name}" for name in marks.values()}


def as_links(html: str, root: str) -> str:
    """Return a notebook's HTML with its anchors as links to the dictionary; `root` leads to the site's start."""

    def link(match: re.Match) -> str:
        anchor, target, text = match.groups()
        return (
            f'<span id="{anchor}"><a href="{root}{target}">{text}</a></span>'
            if text
            else f'<span id="{anchor}"></span>'
        )

    return _MARKED.sub(link, html)
