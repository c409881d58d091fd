"""Pages of the data dictionary: those that `cdm-importers dictionary` writes, with examples, joins and links of the site."""

import fnmatch
import re
import sys
from html import escape
from pathlib import Path

from cdmeventimporters.dev.dictionary import (
    IDENTIFIERS,
    Entry,
    column_rows,
    dictionary_files,
    join_query,
    table_page,
)
from cdmeventimporters.dev.terminal import markdown_table

TESTS = Path(__file__).parents[2] / "tests"
sys.path.append(str(TESTS))
from reference import parse  # noqa: E402  a parser of samples that needs no Spark

FEW = 3  # rows of an example


def _samples(entry: Entry) -> list[Path]:
    """Return the samples that a table can be made from, those of later versions first."""
    globs = (entry.table.files, *entry.table.candidates)
    files = sorted((p for p in (TESTS / "data" / entry.stem).rglob("*") if p.is_file()), reverse=True)
    return [p for p in files if any(fnmatch.fnmatchcase(p.name, glob) for glob in globs)]


def _rows(file: Path, entry: Entry) -> list[dict]:
    """Return the first rows that a sample comes to; none if it is no file of the table."""
    try:
        return parse({f"bucket/{file.name}": file.read_bytes()}, entry.table, quarantine=False).rows[:FEW]
    except Exception:  # it has a layout of another table
        return []


def example(entry: Entry) -> tuple[Path, list[dict]]:
    """Return the sample whose first rows fill the most columns, and these rows."""
    found = [(file, _rows(file, entry)) for file in _samples(entry)]
    return max(found, key=lambda sample: sum(value is not None for row in sample[1] for value in row.values()))


def example_section(entry: Entry) -> str:
    """Return a few rows of a table, each as a column, as most tables have more columns than rows."""
    file, rows = example(entry)
    values = ((c.name, [row[c.name] for row in rows]) for c in entry.table.tool_columns)
    lines = [[name, *(", ".join(x) if isinstance(x, list) else x for x in some)] for name, some in values]
    table = markdown_table(["column", *(f"row {n}" for n in range(1, len(rows) + 1))], lines)
    return f"## Example rows\n\nMade up, as all samples: `{file.relative_to(TESTS.parent).as_posix()}`.\n\n{table}\n"


def columns_section(entry: Entry, declarations: dict[str, str]) -> str:
    """Return all columns of a table, each with an anchor and a link to its declaration; without facts that none has."""
    rows = column_rows(entry)
    heads = [head for head in rows[0] if any(row[head] for row in rows)]
    first, second, *lines = markdown_table(heads, [[row[head] for head in heads] for row in rows]).split("\n")
    for n, row in enumerate(rows):
        _, cell, rest = lines[n].split("| ", 2)
        lines[n] = f"| [{cell.strip()}]({declarations[row['column']]}){{ #{row['column']} }} | {rest}"
    return "\n".join(["## Columns\n", "A column's name leads to its declaration.\n", first, second, *lines, ""])


def joins_section(entry: Entry, by_name: dict[str, Entry]) -> str:
    """Return the queries that join a table with others; nothing if there are none."""
    parts = []
    for thing, columns in IDENTIFIERS.items():
        if entry.short_name not in columns:
            continue
        parts.append(f"### By {thing}, `{columns[entry.short_name]}` {{ data-search-exclude }}\n")
        for other in (by_name[name] for name in columns if name != entry.short_name):
            query = join_query(thing, entry, other).replace("\n", "\n    ")
            page = f"[{other.name}]({other.short_name}.md): {other.table.description}"
            parts.append(f'??? note "with {other.short_name}"\n\n    {page}\n\n    ```sql\n    {query}\n    ```\n')
    return "\n".join(["## Joins { data-search-exclude }\n", *parts]) if parts else ""


def page_of(entry: Entry, title: str, declarations: dict[str, str], by_name: dict[str, Entry]) -> str:
    """Return the page of a table."""
    facts = table_page(entry).split("\n| column |")[0].rstrip()
    more = [
        f"- **Importer**: [{title}](../../nbs/importers/{entry.stem}.ipynb), the notebook that declares the table",
        f"- **For programs**: [Table Schema](../schemas/{entry.short_name}.json)",
    ]
    parts = [columns_section(entry, declarations), example_section(entry), joins_section(entry, by_name)]
    return "\n".join(
        [f"---\ntitle: {entry.short_name}\nsearch:\n  boost: 4\nhide: [toc]\n---", facts, *more, "", *parts]
    )


def list_of(entries: list[Entry]) -> str:
    """Return what the dictionary has, and all tables, each with what a row is."""
    rows = [f"| [{e.name}](../dictionary/tables/{e.short_name}.md) | {e.table.description} |" for e in entries]
    return "\n".join(
        [
            "\n- [Search all columns](../dictionary/columns.md) by word and unit",
            "- [Which tables join on what](../dictionary/joins.md)",
            "- [All of it in one page of Markdown](../dictionary/dictionary.txt), for programs that read text",
            "\n## All tables\n",
            "| table | what it holds |",
            "| :-- | :-- |",
            *rows,
            "",
        ]
    )


def _search_row(entry: Entry, row: dict[str, str]) -> str:
    """Return a column as a row of the page that searches all of them."""
    page = f"tables/{entry.short_name}.html"
    cells = [
        f'<a href="{page}#{row["column"]}">{row["column"]}</a>',
        f'<a href="{page}">{entry.short_name}</a>',
        *(escape(row[head]) for head in ("type", "unit", "description")),
    ]
    about = escape(f"{entry.name} {entry.table.description}")
    return f'<tr data-unit="{escape(row["unit"])}" data-about="{about}">{"".join(f"<td>{x}</td>" for x in cells)}</tr>'


def search_page(entries: list[Entry]) -> str:
    """Return the page that searches the columns of all tables by word and unit."""
    own = {c.name for e in entries for c in e.table.tool_columns}
    rows = [(e, row) for e in entries for row in column_rows(e) if row["column"] in own]
    units = sorted({row["unit"] for _, row in rows if row["unit"]}, key=str.lower)
    options = "".join(f"<option>{escape(unit)}</option>" for unit in units)
    body = "\n".join(_search_row(entry, row) for entry, row in rows)
    return f"""---
search:
  exclude: true
hide: [toc]
---
# Search all columns

The words may be in the name or the description of a column, or in those of its table.
The columns that [every table has](../docs/analysts.md#what-every-table-has) are not in the list.

<form class="column-search" role="search">
<label>Words <input type="search" name="words" placeholder="antibiotic resistance" autocomplete="off"></label>
<label>Unit <select name="unit"><option value="">any</option>{options}</select></label>
<output></output>
</form>

<table id="all-columns">
<thead><tr><th>column</th><th>table</th><th>type</th><th>unit</th><th>description</th></tr></thead>
<tbody>
{body}
</tbody>
</table>
"""


def joins(page: str, entries: list[Entry]) -> str:
    """Return the page of joins with links to the tables."""
    more = "The page of a table has the queries that join it with each of the others."
    page = page.replace("\n", f"\n\n{more}\n", 1)
    for entry in entries:
        page = re.sub(rf"^\| {entry.name} \|", f"| [{entry.name}](tables/{entry.short_name}.md) |", page, flags=re.M)
    return page


def dictionary(entries: list[Entry], titles: dict[str, str], declarations: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the files of the dictionary, `{path: content}`, given the importers' titles and the links to declarations."""
    by_name = {entry.short_name: entry for entry in entries}
    tables = {f"tables/{n}.md": page_of(e, titles[e.stem], declarations[n], by_name) for n, e in by_name.items()}
    files = dictionary_files(entries)
    whole = files.pop("dictionary.md")
    more = {"joins.md": joins(files["joins.md"], entries), "columns.md": search_page(entries), "dictionary.txt": whole}
    return files | tables | more
