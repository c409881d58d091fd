"""The data dictionary equals the declarations that it is made from."""

import itertools
import json
import re
import sqlite3

import pytest
from conftest import ROOT
from frictionless import Schema
from typer.testing import CliRunner

from cdmeventimporters.core.inputs import INPUT_COLUMNS
from cdmeventimporters.dev.catalog import load_importers, tables_of
from cdmeventimporters.dev.cli import app
from cdmeventimporters.dev.dictionary import IDENTIFIERS, entries, join_query, joins_page, table_page, table_schema

ENTRIES = {entry.name: entry for entry in entries()}
BY_SHORT_NAME = {entry.short_name: entry for entry in ENTRIES.values()}
each_table = pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)


def cells(page: str) -> list[list[str]]:
    """The rows of a page's table, without its heads."""
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    return [[re.sub(r"\\([!-/:-@[-`{-~])", r"\1", x) for x in re.split(r"(?<!\\) \| ", f"{row[2:-2]}")] for row in rows]


def test_every_table_that_an_importer_writes_has_a_page():
    assert set(ENTRIES) == {name for importer in load_importers().values() for name in tables_of(importer)}


@each_table
def test_a_page_has_every_column_as_it_is_declared(entry):
    found = [(row[0], row[1], row[2], row[4], row[6]) for row in cells(table_page(entry))]
    declared = [(c.name, c.type, c.unit or "", c.description, c.since or "") for c in entry.table.all_columns]
    assert found == declared


@each_table
def test_a_schema_is_one_by_frictionless_and_equals_the_declaration(entry):
    schema = Schema.from_descriptor(table_schema(entry))
    assert [(f.name, f.description) for f in schema.fields] == [
        (c.name, c.description) for c in entry.table.all_columns
    ]
    for field, column in zip(schema.fields, entry.table.all_columns, strict=True):
        low, high = column.between or (None, None)
        assert (field.constraints.get("minimum"), field.constraints.get("maximum")) == (low, high)
    assert schema.primary_key in ([], list(entry.table.key))


@pytest.fixture(scope="module")
def database():
    """Empty tables with the declared columns."""
    database = sqlite3.connect(":memory:")
    database.execute("ATTACH ':memory:' AS autoimport")
    for entry in ENTRIES.values():
        database.execute(f"CREATE TABLE {entry.name} ({', '.join(f'`{c.name}`' for c in entry.table.all_columns)})")
    database.execute(f"CREATE TABLE autoimport.import_inputs ({', '.join(f'`{c.name}`' for c in INPUT_COLUMNS)})")
    return database


@pytest.mark.parametrize("thing", IDENTIFIERS)
def test_every_join_runs_and_is_on_the_page(thing, database):
    page, first = joins_page(list(ENTRIES.values())), BY_SHORT_NAME[next(iter(IDENTIFIERS[thing]))]
    for left, right in itertools.permutations([BY_SHORT_NAME[name] for name in IDENTIFIERS[thing]], 2):
        query = join_query(thing, left, right)
        assert database.execute(query).fetchall() == []
        assert query in page or left != first


def test_the_queries_of_the_analysts_guide_run(database):
    queries = re.findall(
        r"^```sql\n(SELECT.*?;)\n```", (ROOT / "docs/analysts.md").read_text(), re.DOTALL | re.MULTILINE
    )
    of_tables = [query for query in queries if "import_log" not in query]
    assert [database.execute(query).fetchall() for query in of_tables] == [[], []]


def test_every_column_that_is_called_genome_is_joined_by():
    named = {n for n, entry in BY_SHORT_NAME.items() if any(c.name == "genome" for c in entry.table.columns)}
    assert named - set(IDENTIFIERS["genome"]) == set()


def test_the_command_writes_pages_and_schemas_that_equal_the_declarations(tmp_path):
    (tmp_path / "joins.md").write_text("of a former run")
    ran = CliRunner().invoke(app, ["dictionary", str(tmp_path)])
    assert ran.output == f"{2 * len(ENTRIES) + 2} files are in {tmp_path}; begin with dictionary.md.\n"
    for entry in ENTRIES.values():
        assert (tmp_path / f"tables/{entry.short_name}.md").read_text() == table_page(entry)
        assert json.loads((tmp_path / f"schemas/{entry.short_name}.json").read_text()) == table_schema(entry)
    assert (tmp_path / "joins.md").read_text() == joins_page([*ENTRIES.values()])
    assert "\n## autoimport.checkm2\n" in (tmp_path / "dictionary.md").read_text()
