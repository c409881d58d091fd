"""Every importer, on all its samples: what each must do, whichever tool it is for."""

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT, Desk
from reference import _lines, form_of, parse

from cdmeventimporters.core.spec import CTS_JOB_ID, Table
from cdmeventimporters.dev.catalog import load_importers

DATA = ROOT / "tests/data"
IMPORTERS = load_importers()
WORDS = ("fields", "empty", "is not", "does not")


@dataclass
class Case:
    """An importer and its samples, at a place of its own in the lake."""

    desk: Desk
    image: str
    folder: Path  # of the samples
    tables: dict[str, Table]  # by name in the lake, without prefix

    @property
    def samples(self) -> dict[str, bytes]:
        """All samples, `{version/name: content}`."""
        return {str(f.relative_to(self.folder)): f.read_bytes() for f in sorted(self.folder.rglob("*")) if f.is_file()}

    @property
    def meta(self) -> dict:
        """What the YAML would say of these tables."""
        names = {table.name: name for name, table in self.tables.items()}
        return {"table": None, "deltatable": None, "tables": names}

    def submit(self, files, **job):
        """Deliver a job of these files."""
        return self.desk.lake.submit(self.image, files, meta=self.meta, **job)

    def good(self, files, **job):
        """Deliver a job that must be imported."""
        outcome = self.submit(files, **job)
        assert outcome.error is None, str(outcome.error)
        return outcome

    def bad(self, files) -> str:
        """Deliver a job that must fail without a change to any table; the message."""
        before = self.state()
        error = self.submit(files).error
        assert error is not None, "it was imported"
        assert "No table was changed." in str(error)
        assert self.state() == before
        return str(error)

    def state(self) -> dict:
        """How often each table was written to."""
        return {name: self.desk.commits(name.split(".")[1]) for name in self.tables}

    def rows(self, name: str) -> list[tuple]:
        """The rows of a table, in order, all but the lineage."""
        table = self.tables[name]
        columns = [c.name for c in table.tool_columns] + ["_rescued_data", "cts_output_file"]
        found = self.desk.spark.table(self.desk.lake.prefix + name).select(*columns).collect()
        return sorted(map(comparable, found))

    def of(self, table: Table, name: str | None = None) -> tuple[dict[str, bytes], str]:
        """The files of one version that has some for `table`, and which of them is for it."""
        for path in self.samples:
            if Path(path).match(table.files) and form_of(_lines(self.samples[path]), table).rows:
                version = path.split("/")[0]
                return {p: data for p, data in self.samples.items() if p.startswith(f"{version}/")}, path
        raise AssertionError(f"no sample of {table.name} has a row")


def comparable(row) -> tuple:
    """A row so that it can be ordered, and compared with what the reference reads."""
    return tuple("" if value is None else repr(list(value) if isinstance(value, tuple) else value) for value in row)


@pytest.fixture(scope="module", params=IMPORTERS.values(), ids=lambda importer: importer.name)
def case(request, lake):
    """An importer, all of whose samples were imported in one job."""
    importer = request.param
    module = import_module(importer.py_module)
    declared = {x.name: x for x in vars(module).values() if isinstance(x, Table)}
    namespace = f"all_{importer.name}"
    case = Case(Desk(lake, namespace), importer.image, DATA / importer.name, {f"{namespace}.{name}": t for name, t in declared.items()})  # fmt: skip
    case.first = case.good(case.samples)
    return case


@pytest.mark.matrix
def test_all_samples_land_as_an_independent_reader_reads_them(case):
    folder = f"{case.desk.lake.bucket}/cts/output/{case.first.job_info['id']}"
    for name, table in case.tables.items():
        files = {f"{folder}/{path}": data for path, data in case.samples.items() if Path(path).match(table.files)}
        files = {path: data for path, data in files.items() if not any(Path(path).match(x) for x in table.exclude)}
        columns = [c.name for c in table.tool_columns] + ["_rescued_data", "cts_output_file"]
        expected = parse(files, table, quarantine=False).rows
        assert case.rows(name) == sorted(comparable(row[c] for c in columns) for row in expected)
        assert expected, "the samples hold no row"


def test_a_redelivery_changes_nothing(case):
    before = case.state()
    assert case.first.replay().error is None
    assert case.state() == before


def test_jobs_end_in_the_same_table_in_either_order(case):
    """A second job of the same files replaces the first, or stands beside it where the key holds the job."""
    second = case.good(case.samples)
    for name, table in case.tables.items():
        jobs = {
            r.cts_job_id for r in case.desk.spark.table(case.desk.lake.prefix + name).select("cts_job_id").collect()
        }
        beside = {case.first.job_info["id"]} if CTS_JOB_ID.name in table.key else set()
        assert jobs == {second.job_info["id"], *beside}
    before = {name: case.rows(name) for name in case.tables}
    late = case.desk.lake.job(case.image, case.samples, completion_time="2020-01-01T00:00:00Z")
    assert case.desk.lake.deliver(late, meta=case.meta).error is None
    for name, table in case.tables.items():
        if CTS_JOB_ID.name not in table.key:
            assert case.rows(name) == before[name]


def test_a_file_that_was_cut_off_is_refused(case):
    for table in case.tables.values():
        files, path = case.of(table)
        form = form_of(_lines(files[path]), table)
        text, last = files[path].decode(), form.rows[-1][1]
        if form.layout.ragged:
            continue
        end = text.rindex(last) + [m.start() for m in re.finditer(form.layout.separator, last)][len(form.names) - 2]
        assert "so the file was cut off" in case.bad(files | {path: text[:end].encode()})


def test_an_empty_file_is_refused(case):
    for table in case.tables.values():
        files, path = case.of(table)
        assert "the file is empty; expected" in case.bad(files | {path: b""})


def test_a_file_of_another_tool_is_refused(case):
    other = "seqkit" if case.folder.name == "checkm2" else "checkm2"
    [*_, strange] = sorted(f for f in (DATA / other).rglob("*") if f.is_file())
    for table in case.tables.values():
        files, path = case.of(table)
        said = case.bad(files | {path: strange.read_bytes()})
        assert "the header lacks" in said or "expected" in said


def test_one_bad_cell_is_refused(case):
    for table in case.tables.values():
        files, path = case.of(table)
        form = form_of(_lines(files[path]), table)
        numbers = [c for c in table.written_columns if c.type not in ("string", "array<string>")]
        column = next(c for c in (*numbers, *table.written_columns) if place(c, form) is not None)
        number, row = form.rows[0]
        bad = form.layout.separator.replace(" +", "   ").replace(" {2,}", "   ").join(
            ("x" if numbers else "") if n == place(column, form) else cell for n, cell in enumerate(form.split(row))
        )  # fmt: skip
        said = case.bad(files | {path: files[path].replace(row.encode(), bad.encode(), 1)})
        assert f"{path}, line {number}" in said
        assert f"column {column.name}: {'x' if numbers else ''!r} is" in said


def place(column, form) -> int | None:
    """Where a file has a column."""
    names = (column.header or column.name, *column.aliases)
    return next((form.names.index(n) for n in names if n in form.names), None)


def test_a_file_without_rows_is_a_result_if_it_has_a_header(case):
    for table in case.tables.values():
        files, path = case.of(table)
        form = form_of(_lines(files[path]), table)
        if form.header is not None:
            rows = {row for _, row in form.rows}
            text = "\n".join(line for line in files[path].decode().split("\n") if line.removesuffix("\r") not in rows)
            case.good(files | {path: text.encode()})
