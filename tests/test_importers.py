"""Every importer, on all its samples: what each must do, whichever tool it is for."""

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT, Desk
from reference import Form, MustFail, form_of, lines_of, parse, row_of

from cdmeventimporters.core.batch import import_batch
from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.files import SniffedFile, sniff_lines
from cdmeventimporters.core.files import lines_of as engine_lines
from cdmeventimporters.core.rows import FileFault, file_fault, fits_by_content
from cdmeventimporters.core.spec import CTS_JOB_ID, CTS_OUTPUT_FILE, Table
from cdmeventimporters.dev.author.preview import Judged, judge
from cdmeventimporters.dev.catalog import load_importers

DATA = ROOT / "tests/data"
IMPORTERS = {importer.py_module: importer for importer in load_importers().values()}


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
        """Deliver a job that must fail without a change to any table, with the message of a preview; the message."""
        before = self.state()
        outcome = self.submit(files)
        error = outcome.error
        assert error is not None, "it was imported"
        previews = [self.preview(table, outcome.job_info["id"], files) for table in self.tables.values()]
        assert str(error).endswith(f" No table was changed. {next(p.failure for p in previews if p.failure)}")
        assert self.state() == before
        return str(error)

    def state(self) -> dict:
        """How often each table was written to."""
        return {name: self.desk.commits(name.split(".")[1]) for name in self.tables}

    def rows(self, name: str, job: str) -> list[tuple]:
        """The rows of a table that are from a job, in order, all but the lineage."""
        found = self.desk.spark.table(self.desk.lake.prefix + name).where(f"cts_job_id = '{job}'")
        return sorted(map(comparable, found.select(*names_of(self.tables[name])).collect()))

    def expected(self, table: Table, job: str, files: dict[str, bytes] | None = None) -> list[tuple]:
        """The rows that a job of all samples, or of other files, should come to, as an independent reader reads them."""
        folder, files = f"{self.desk.lake.bucket}/cts/output/{job}", files or self.samples
        files = {f"{folder}/{path}": data for path, data in files.items() if is_for(path, table)}
        rows = parse(files, table, quarantine=False).rows
        assert rows, "the samples hold no row"
        return sorted(comparable(row[c] for c in names_of(table)) for row in rows)

    def preview(self, table: Table, job: str, files: dict[str, bytes]) -> Judged:
        """What a preview makes of the files of a job."""
        folder = f"{self.desk.lake.bucket}/cts/output/{job}"
        return judge(table, {f"{folder}/{path}": data for path, data in files.items() if is_for(path, table)})

    def read(self, table: Table) -> dict[str, Form]:
        """How each sample for `table` that has rows is read."""
        found = {path: form_of(lines_of(data), table) for path, data in self.samples.items() if is_for(path, table)}
        return {path: form for path, form in found.items() if form.rows}

    def besides(self, table: Table) -> dict[str, bytes]:
        """The samples for the other tables, without which no job is whole."""
        return {path: data for path, data in self.samples.items() if not is_for(path, table)}


def is_for(path: str, table: Table) -> bool:
    """Whether `table` is made from this file."""
    return any(map(Path(path).match, (table.files, *table.candidates))) and not any(
        Path(path).match(pattern) for pattern in table.exclude
    )


def names_of(table: Table) -> list[str]:
    """The columns that the files decide."""
    return [*(c.name for c in table.tool_columns), "_rescued_data", "cts_output_file"]


def comparable(row) -> tuple:
    """A row so that it can be ordered, and compared with what the reference reads."""
    return tuple("" if value is None else repr(list(value) if isinstance(value, tuple) else value) for value in row)


@pytest.fixture(scope="module", params=IMPORTERS.values(), ids=lambda importer: importer.name)
def case(request, lake):
    """An importer, all of whose samples were imported in one job."""
    importer = request.param
    module, stem = import_module(importer.py_module), importer.py_module.split(".")[1]
    declared = {x.name: x for x in vars(module).values() if isinstance(x, Table)}
    namespace = f"all_{importer.name}"
    case = Case(Desk(lake, namespace), importer.image, DATA / stem, {f"{namespace}.{name}": t for name, t in declared.items()})  # fmt: skip
    case.first = case.good(case.samples)
    return case


@pytest.mark.matrix
def test_all_samples_land_as_an_independent_reader_reads_them(case):
    job = case.first.job_info["id"]
    for name, table in case.tables.items():
        assert case.rows(name, job) == case.expected(table, job) == previewed(case, table, job)


def previewed(case, table: Table, job: str) -> list[tuple]:
    """The rows of a job of all samples, as a preview has them."""
    judged = case.preview(table, job, case.samples)
    rows = [row.values | {"_rescued_data": row.rescued, "cts_output_file": row.file} for row in judged.rows]
    return sorted(comparable(row[c] for c in names_of(table)) for row in rows)


def test_a_redelivery_changes_nothing(case):
    before = case.state()
    assert case.first.replay().error is None
    assert case.state() == before


@pytest.fixture(scope="module")
def batch(case):
    """After the first job, a batch of which Spark holds the lines: one job has each sample twice, one completed before all others, and one has no rows."""
    changed = in_two_folders(case, changed=True)
    files = {
        "second": changed if may_stand_together(case, changed) else in_two_folders(case, changed=False),
        "late": case.samples,
        "empty": without_rows(case),
    }
    jobs = {
        name: case.desk.lake.job(case.image, files[name], **how)
        for name, how in {"second": {}, "late": {"completion_time": "2020-01-01T00:00:00Z"}, "empty": {}}.items()
        if files[name]
    }
    tables = case.tables.values()
    results = import_batch(case.desk.lake.get_spark, [*jobs.values()], case.meta, *tables, driver_bytes=0)
    return (
        files,
        dict(zip(jobs, [job["id"] for job in jobs.values()], strict=True)),
        dict(zip(jobs, results, strict=True)),
    )


def test_jobs_end_in_the_same_table_in_either_order(case, batch):
    """The second job replaces the first, or stands beside it."""
    files, jobs, results = batch
    assert [result for result in results.values() if isinstance(result, ImportFailed)] == []
    first, second = case.first.job_info["id"], jobs["second"]
    for name, table in case.tables.items():
        replaced = CTS_JOB_ID.name not in table.key
        assert case.rows(name, second) == case.expected(table, second, files["second"])
        assert case.rows(name, first) == ([] if replaced else case.expected(table, first))
        assert case.rows(name, jobs["late"]) == ([] if replaced else case.expected(table, jobs["late"]))


def test_a_file_without_rows_is_a_result_if_it_has_a_header(case, batch):
    files, jobs, results = batch
    if files["empty"]:
        assert [entry.status for entry in results["empty"]] == ["imported"] * len(case.tables)
        assert [case.rows(name, jobs["empty"]) for name in case.tables] == [[]] * len(case.tables)


def without_rows(case) -> dict[str, bytes]:
    """The samples without their rows; nothing if a table would have no file with a header."""
    files = {}
    for table in case.tables.values():
        for path, form in case.read(table).items():
            lines, rows = case.samples[path].decode().splitlines(keepends=True), {row for _, row in form.rows}
            if form.header is not None:
                files[path] = "".join(line for line in lines if line.strip("\r\n") not in rows).encode()
    return files if all(any(is_for(path, table) for path in files) for table in case.tables.values()) else {}


def in_two_folders(case, changed: bool) -> dict[str, bytes]:
    """Each sample twice, as if two genomes shared all identifiers; the second may lack a value of a row."""
    twice = {f"{n}/{path}": data for n in (1, 2) for path, data in case.samples.items()}
    for table in case.tables.values() if changed else ():
        for path, form in case.read(table).items():
            if rows := row_without_a_value(form, table):
                twice[f"2/{path}"] = case.samples[path].decode().replace(*rows).encode()
    return twice


def may_stand_together(case, files: dict[str, bytes]) -> bool:
    """Whether no two rows of these files have one key and differ."""
    try:
        return all(case.expected(table, "job", files) for table in case.tables.values())
    except MustFail:
        return False


def truncated(text: str, form: Form) -> str:
    """A file that ends before the last field of its last row, or before the end of its last record."""
    last = form.rows[-1][1]
    if form.layout.record:
        return text[: text.rindex("\n" + form.layout.record[1])]
    last = last.split("\n")[-1]
    ends = [m.start() for m in re.finditer(form.layout.separator, last)]
    return text[: text.rindex(last) + ends[0 if form.layout.transposed else len(form.names) - 2]]


def test_truncated_and_empty_files_and_those_of_all_other_tools_are_refused(case):
    """Every sample that is truncated, but those whose rows may end early; of other tools, every sample that an independent reader cannot read either. A job has the truncated ones, and one of each tool."""
    for table in case.tables.values():
        [name, *_] = [Path(path).name for path in case.read(table)]
        cut = {
            path: truncated(case.samples[path].decode(), form).encode()
            for path, form in case.read(table).items()
            if not form.layout.ragged
        }
        for path, data in cut.items():
            assert "so the file is truncated" in fault(data, table).text, path
        others = {f: f.read_bytes() for f in sorted(DATA.rglob("*")) if f.is_file() and case.folder not in f.parents}
        strange = {f: data for f, data in others.items() if form_of(lines_of(data), table) is None}
        for file, data in strange.items():
            assert fault(data, table) is not None, file
        one_of_each = {file.relative_to(DATA).parts[0]: data for file, data in strange.items()}
        assert len(one_of_each) > 5
        broken = {f"{n:02}/{name}": data for n, data in enumerate([b"", *one_of_each.values()])}
        cut = {f"011/{path}": data for path, data in cut.items()}
        said = case.bad(case.besides(table) | broken | cut)
        count = len([path for path, data in (broken | cut).items() if is_taken(path, data, table)])
        assert f"{count} of {count} output files cannot be imported:" in said
        assert f"00/{name}: the file is empty; expected" in said
        assert f"01/{name}: " in said
        assert re.search("the header lacks|but the first line", said)
        assert said.count("so the file is truncated") == min(len(cut), 3)


def sniffed(data: bytes, table: Table) -> SniffedFile | None:
    """A file as the layouts of a table see it."""
    return sniff_lines(engine_lines("bucket/out/x", data), table.layouts) if data else None


def fault(data: bytes, table: Table) -> FileFault | None:
    """What is wrong with a file as a whole."""
    return file_fault(sniffed(data, table), table)


def is_taken(path: str, data: bytes, table: Table) -> bool:
    """Whether an output is the table's, by its name or by its content."""
    return Path(path).match(table.files) or fits_by_content(sniffed(data, table), table)


def test_rows_of_two_files_that_share_identifiers_are_kept_or_an_error(case):
    """They are kept, as in the second job above, where the key tells files apart; elsewhere they must not differ."""
    changed = in_two_folders(case, changed=True)
    if may_stand_together(case, changed):
        by_path = {c.name for table in case.tables.values() for c in table.columns if c.extract_from_path}
        assert all({CTS_OUTPUT_FILE.name, *by_path} & {*table.key} for table in case.tables.values())
        return
    said = case.bad(changed)
    assert re.search(r"\d+ keys? (has|have) rows that differ:", said)
    assert re.search(r"/[12]/.*, line \d+, .* and .*/[12]/.*, line \d+: they differ in ", said)


def row_without_a_value(form: Form, table: Table) -> tuple[str, str] | None:
    """A row of a file, and the same without the value of a column that may be empty; None if there is none."""
    free = [c for c in table.written_columns if not c.required and c.name not in table.key and not c.extract]
    for _, row in form.rows:
        for column in free:
            if form.layout.aligned or not form.span(row, column) or not is_kept(row, form, table):
                continue
            start, end = form.span(row, column)
            if row[start:end] not in ("", *column.na_values, *table.na_values):
                return row, row[:start] + row[end:]
    return None


def with_bad_cell(text: str, form: Form, table: Table) -> tuple[str, int, str]:
    """A file with a word for a number in a row, or nothing for a name if there are no numbers; the row's line and what is said."""
    number, row = next((n, row) for n, row in form.rows if is_kept(row, form, table))
    numbers = [c for c in table.written_columns if c.type not in ("string", "array<string>")]
    names = [c for c in table.written_columns if c.name in table.key]
    column = next(c for c in numbers + names if form.span(row, c))
    bad = "x" if column in numbers else ""
    start, end = form.span(row, column)
    begin = text.index(row.split("\n")[0])
    before, cell, after = (part.split("\n") for part in (row[:start], row[start:end], row[end:]))
    line = before[-1] + cell[0] + after[0]
    begin = text.index(line, begin) + len(before[-1])
    return text[:begin] + bad + text[begin + len(cell[0]) :], number, f"column {column.name}: {bad!r} is"


def is_kept(row: str, form: Form, table: Table) -> bool:
    """Whether a line makes rows that are not left out."""
    return any(row_of(cells, form, table, "")[0] for cells in form.rows_in(row))


def test_one_bad_cell_is_refused(case):
    """In every sample."""
    for table in case.tables.values():
        texts = {
            path: with_bad_cell(case.samples[path].decode(), form, table) for path, form in case.read(table).items()
        }
        said = case.bad(case.besides(table) | {path: text.encode() for path, (text, _, _) in texts.items()})
        several = [form for form in case.read(table).values() if form.layout.repeated]
        bad = len(texts) + sum(len(form.rows_in(form.rows[0][1])) - 1 for form in several)
        assert re.search(rf"{bad} of \d+ rows (is|are) bad:", said)
        for path, (_, number, fault) in sorted(texts.items())[:5]:
            assert re.search(rf"{re.escape(path)}, line {number},.* {re.escape(fault)}", said)
