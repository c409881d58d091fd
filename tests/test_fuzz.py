"""Reports, jobs and YAML files that nobody would think of: what comes of each is what a slow parser in plain Python says.

CI runs a few hundred, the same each time; `make fuzz` runs many more, others each time. An input is a row with one odd cell, a job of one to three odd reports, a dict, or a YAML file.
"""

# ruff: noqa: RUF001, SIM905
import json
import os
import re
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import yaml
from conftest import NEW, OLD, Desk, report
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from reference import MustFail, parse

from cdmeventimporters.checkm2 import quality_report
from cdmeventimporters.core import importing
from cdmeventimporters.core.errors import ImportFailed
from cdmeventimporters.core.files import open_outputs
from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.core.job import Job, read_job, read_options, select_outputs, table_names
from cdmeventimporters.core.spec import Column, Layout, Table
from cdmeventimporters.dev.author.preview import judge
from cdmeventimporters.dev.catalog import load_importers, problems

pytestmark = pytest.mark.once

TIMES = int(os.environ.get("CDM_FUZZ", "1"))  # how many times as many inputs as in CI
COUNTED = Counter()


def examples(count, shrink=True):
    """Run a test on so many examples in CI, always the same ones; on more, and on others each time, under `make fuzz`."""
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        phases=phases,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def counts(request):
    """Say at the end how many inputs there were."""
    yield
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\ninputs:", ", ".join(f"{count} {what}" for what, count in COUNTED.items()))


# cells

ODD = Table(
    "odd",
    "A column of every kind",
    files="*.tsv",
    key=("Name", "Part"),
    columns=[
        Column("Name", "string", "Key of text"),
        Column("Part", "bigint", "Key of numbers"),
        Column("Count", "int", "Whole number"),
        Column("Rank", "int", "Whole number in a range", between=(-5, 7)),
        Column("Length", "bigint", "Long whole number", between=(None, 10**18)),
        Column("Ratio", "float", "Number"),
        Column("Share", "float", "Number in a range", between=(0.1, 0.7)),
        Column("Evalue", "double", "Number, not always finite", header="E-value", aliases=("evalue", "E"), nonfinite=True),
        Column("Weight", "double", "Number in a range, with words for none", between=(-1e-5, None), na_values=("-", "NA")),
        Column("Must", "string", "Text", required=True),
        Column("Note", "string", "Text, with words for none", na_values=("None", "it's", "\\", '"')),
        Column("Later", "bigint", "Number that older reports lack", since="2"),
    ],
)  # fmt: skip
NAMES = [column.header or column.name for column in ODD.columns]
GOOD = ["row", "1", "2", "3", "4", "0.5", "0.25", "1e-30", "0.125", "must", "note", "12"]

NASTY = r"""0 -0 +0 00 007 -1 +5 .5 5. 1. . 1,5 1_000 0x10 0b1 1e 1e+ e5 1e5 1E5 1e+5 1.5e1 15e-1 1e-1 1e400 -1e400 1e-400 1e39 1e38 1e308 1e309 1e-45 1e-46 5e-324 2e-324
3.4028234e38 3.4028235e38 3.4028236e38 3.4028235677973366e38 1.7976931348623157e308 1.7976931348623159e308 2.2250738585072014e-308 1.1754944e-38 0.1 0.7 1.0000001 1.00000001 0.99999999
2147483647 2147483648 -2147483648 -2147483649 2147483647.0 2147483647.5 2147483648e0 21474836470e-1 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
9223372036854775807.0 1e18 1e19 99999999999999999999 1000000000000000000.1 0.1e1 0e0 0e5 0.0 11.0 11.00000 11.0e0 16777217 9007199254740993 0.30000000000000004 123456789.123456789
nan NaN NAN -nan +nan -NaN inf -inf +inf Inf INF infinity Infinity -Infinity infinit 1f 1d 1L 1F 0x1p3 1e005 -2.5e+001 0.000e+000 1e-005 1000000e-006 1e-17 1e-18 9e-18 4e-18 5e-19 1e-19 10e-18 1.000000000000000001e0 0.7000000 0.1000000 0.69999999 0.09999999 1e5f 1e5.0 1e1e1 +-1 --1 1- 1+ NULL null None NA N/A n/a - -- NaT true it's \\ " ""
'1' "1" `1` $1 ${x} %s {} [] ; -- /* */ = =1+1 #1 @1 1% 50% ½ ² ٣ １ 𝟗 Ⅳ − –1 1−1 e π ∞ 漢字 é é 🧬 🇩🇪 \N \0 \n \t \\u0041 \\' '' \\" a\\ C:\\tmp 2024-01-01 12:00 01:02""".split()
# fmt: off
NASTY += [" ", "  ", " 1", "1 ", "1 2", "\u00a01", "1\u00a0", "\u2009", "\u200b1", "\u2028", "\u2029", "\x85", "\x0b1", "\x0c", "\r", "1\r", "\r1", "1\r1", "\0", "1\0", "\0" + "1", "\x1b[31m", "\x1f", "\x7f"]
NASTY += ["\ufeff", "\ufeff1", "1\ufeff", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "", "9" * 39, "1" * 400, "0." + "3" * 50, "x" * 5000, "🧬" * 61, "é" * 60 + "x", "x" * 60, "x" * 61, "1\t2", "\t"]  # fmt: skip
# fmt: on


def spelt(digits=18):
    """What looks like a number."""
    some = st.text("0123456789", min_size=1, max_size=digits)
    few = st.one_of(st.integers(0, 40).map(str), st.sampled_from(["", "0", "00", "07"]))
    exponent = st.builds(lambda e, sign, n: e + sign + n, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), few)
    return st.builds(
        lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
        st.sampled_from(["", "", "-", "+"]),
        some,
        st.one_of(st.just(""), some.map(".{}".format)),
        st.one_of(st.just(""), exponent),
    )


def near(*limits):
    """Whole numbers about the limits, in several spellings."""
    number = st.builds(lambda limit, more: limit + more, st.sampled_from(limits), st.integers(-2, 2))
    return st.builds(
        lambda n, form: form.format(n), number, st.sampled_from(["{}", "{}.0", "+{}", "{}e0", "{}0e-1", "0{}", "{}.5"])
    )


def left_out(cell):
    """What is too odd to be read as a whole number: more than 60 digits, an exponent of three, with an exponent more than 18 decimal places."""
    if re.fullmatch(r"(?i)[+-]?\d{61}.*|.*\.\d{61}.*|.*e[+-]?0*[1-9]\d\d.*", cell):
        return True
    return bool(re.fullmatch(r"(?i)[+-]?\d+(\.\d+)?e[+-]?\d+", cell)) and Decimal(cell).as_tuple().exponent < -18


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12)
CELL = st.one_of(
    st.sampled_from(NASTY),
    spelt(),
    near(0, 7, -5, 2**31, -(2**31), 10**18, 2**63, -(2**63), 2**24, 2**53),
    st.floats().map(repr),
    st.floats(width=32).map(str),
    st.text(list("0123456789+-.eE"), min_size=1, max_size=8),
    st.text(list("01.eE+-_ ,'\"\\`$\0\r\x1f\u00a0\ufeff٣nafiNAI🧬"), max_size=6),
    TEXT,
).filter(lambda cell: cell in NASTY or not left_out(cell))


def engine(spark, files, table, quarantine):
    """What reading and checking as in an import come to: the rows, and the rejected ones; raises `ImportFailed`."""
    job = Job("job", datetime(2025, 1, 1, tzinfo=UTC), tuple(sorted(files)))
    target = importing.Target(job, table, "n.t", sorted(files))
    checked = importing.check_rows(target, open_outputs(spark, target.paths), quarantine)
    rows = [row.asDict() for row in checked.rows.collect()]
    return rows, checked.rejected.collect() if checked.rejected is not None else []


def said(row, table):
    """A row as it can be compared."""
    values = [0.0 if row[c.name] == 0 else row[c.name] for c in table.tool_columns]
    rescued = json.loads(row["_rescued_data"], object_pairs_hook=tuple) if row["_rescued_data"] else None
    return repr((values, rescued, row["cts_output_file"]))


def differences(got, expected):
    """What is in only one of two lists."""
    got, expected = Counter(got), Counter(expected)
    return list((expected - got).elements())[:5], list((got - expected).elements())[:5]


def outcome(files, table, quarantine):
    """What the reference says: the rows, or with what the message begins."""
    try:
        return parse(files, table, quarantine)
    except MustFail as failure:
        return str(failure)


def check_preview(files, table, quarantine):
    """A preview makes of files what the reference says; the preview."""
    expected, judged = outcome(files, table, quarantine), judge(table, files, quarantine)
    if isinstance(expected, str):
        assert f" {judged.failure}".startswith(expected)
        return judged
    assert judged.failure is None, str(judged.failure)
    rows = [row.values | {"_rescued_data": row.rescued, "cts_output_file": row.file} for row in judged.rows]
    assert differences([said(r, table) for r in rows], [said(r, table) for r in expected.rows]) == ([], [])
    places = [(row.file, row.number, row.line, [f.column or "fields" for f in row.faults]) for row in judged.bad]
    assert differences(map(repr, places), map(repr, expected.rejected)) == ([], [])
    return judged


def check(spark, files, table, quarantine):
    """The engine makes of files what the reference and a preview say."""
    expected, judged = outcome(files, table, quarantine), check_preview(files, table, quarantine)
    if isinstance(expected, str):
        with pytest.raises(ImportFailed) as error:
            engine(spark, files, table, quarantine)
        assert f" {error.value}".startswith(expected)
        assert str(judged.failure) == str(error.value)
        return None
    rows, rejected = engine(spark, files, table, quarantine)
    previewed = [(row.file, row.number, "; ".join(map(str, row.faults))) for row in judged.bad]
    assert differences([(r.cts_output_file, r.line, r.reasons) for r in rejected], previewed) == ([], [])
    assert differences([said(r, table) for r in rows], [said(r, table) for r in expected.rows]) == ([], [])
    places = [(r.cts_output_file, r.line, r.row) for r in rejected]
    assert differences(places, [(file, line, row) for file, line, row, _ in expected.rejected]) == ([], [])
    reasons = {(r.cts_output_file, r.line): r.reasons for r in rejected}
    for file, line, _, wrong in expected.rejected:
        form = (
            "; ".join(f"column {name}: '.*' .+" for name in wrong if name != "fields")
            or r"\d+ fields where \d+ are expected"
        )
        assert re.fullmatch(form, reasons[file, line], re.DOTALL), (wrong, reasons[file, line])
    return expected


@pytest.fixture(scope="module")
def put(lake):
    """Puts files, {path below the bucket: bytes}, into the lake; the same by `bucket/key`."""
    client = lake.s3.client()

    def put_all(files):
        for key, data in files.items():
            client.put_object(Bucket=lake.bucket, Key=f"fuzz/{key}", Body=data)
        return {f"{lake.bucket}/fuzz/{key}": data for key, data in files.items()}

    return put_all


@example(cells=NASTY)
@examples(1, shrink=False)
@given(cells=st.lists(CELL, min_size=40, max_size=40))
def test_an_odd_cell_in_each_column_is_read_as_it_should(lake, put, size, cells):
    rows = [[f"row {n}" if place != 0 else cell, *GOOD[1:]] for n, (place, cell) in enumerate(every(cells))]
    for row, (place, cell) in zip(rows, every(cells), strict=True):
        row[place] = cell
    for n, row in enumerate(rows):
        row[1] = row[1] if n % len(NAMES) == 1 else str(n)
    text = "\n".join("\t".join(row) for row in [NAMES, *rows, ["last", *GOOD[1:]]])
    assert check(lake.get_spark(), put({"cells/cells.tsv": text.encode()}), ODD, quarantine=True)
    COUNTED["cells"] += len(rows)


def every(cells):
    """Each cell in each column, as (place, cell)."""
    return [(place, cell) for cell in cells for place in range(len(NAMES))]


SHAPED = Table(
    "shaped",
    "Columns that regular expressions find, or must match",
    files="*.tsv",
    key="Row",
    columns=[
        Column("Row", "int", "Key"),
        Column("Name", "string", "First word", header="SeqID", extract=r"^(\S+)"),
        Column("Title", "string", "The rest", header="SeqID", extract=r"^\S+ +(.*)$"),
        Column("Rank", "string", "Word", pattern=r"\w+\s?.?\d*|-"),
        Column("Span", "string", "Word", pattern=r"[^,]*\b\d+$|.*"),
        Column("Hits", "int", "Number before a slash", extract="^(.*)/"),
        Column("Size", "bigint", "Number with commas"),
        Column("Parts", "array<string>", "List", separator=";", na_values=("-",)),
    ],
    layouts=Layout(header="Row\t", padded=True, thousands=True, trailing=True, keep_where=("Keep", r".*\d$|[^x]\w*")),
)
SHAPES = ["Row", "SeqID", "Rank", "Span", "Hits", "Size", "Parts", "Keep", "More"]
WELL_SHAPED = ["1", "g1 a gene", "S1", "1-7", "3/4", "1,234", "a;b", "1", "more"]
ODD_SHAPES = [
    f"{a}{b}{c}"
    for a in ("", "a", "1", " ", "1,234", "x/")
    for b in ("", "\r", "\u2028", "\x85", "\u00a0", "٣", "é", "\x1c", "\x0b", ";", "/4")
    for c in ("", "1", " ", "\r")
]


@example(cells=ODD_SHAPES)
@examples(1, shrink=False)
@given(cells=st.lists(CELL.filter(lambda cell: "\t" not in cell), min_size=40, max_size=40))
def test_a_preview_finds_what_the_engine_finds_by_regular_expressions(lake, put, size, cells):
    rows = [[str(n), *WELL_SHAPED[1:]] for n in range(len(cells) * (len(SHAPES) - 1))]
    for n, row in enumerate(rows):
        row[1 + n % (len(SHAPES) - 1)] = cells[n // (len(SHAPES) - 1)]
    text = "\n".join("\t".join(row) for row in [SHAPES, *rows, ["-1", *WELL_SHAPED[1:]]])
    files = put({"shapes/shapes.tsv": text.encode()})
    judged = judge(SHAPED, files, quarantine=True)
    found, rejected = engine(lake.get_spark(), files, SHAPED, quarantine=True)
    previewed = [row.values | {"_rescued_data": row.rescued, "cts_output_file": row.file} for row in judged.rows]
    assert differences([said(r, SHAPED) for r in found], [said(r, SHAPED) for r in previewed]) == ([], [])
    faults = [(row.number, row.line, "; ".join(map(str, row.faults))) for row in judged.bad]
    assert differences([(r.line, r.row, r.reasons) for r in rejected], faults) == ([], [])
    COUNTED["shapes"] += len(rows)


# reports and jobs

SHORT = st.sampled_from(
    ["", "1", "-", "x", "150", "1e400", "1.0", "nan", "None", "\r", '"', "5\t", "a\nb", "0x1", "2147483648"]
)
BYTES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\t", b"\0", b"\n\n"]),
)


@st.composite
def odd_reports(draw):
    """A report of `ODD`: other columns, another order, other rows."""
    header, rows = list(NAMES), draw(st.lists(odd_rows(), max_size=4))
    for spelling in draw(
        st.lists(st.sampled_from(["evalue", "E", "more", "", "Later", "name", "{}", "more\r"]), max_size=2)
    ):
        header.append(spelling)
        rows = [
            [*row, cell]
            for row, cell in zip(rows, draw(st.lists(SHORT, min_size=len(rows), max_size=len(rows))), strict=True)
        ]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1]))):
        place = draw(st.sampled_from([-1, -2, 11, 7, 2]))
        header.pop(place), [row.pop(place) for row in rows]
    order = draw(st.one_of(st.just(range(len(header))), st.permutations(range(len(header)))))
    lines = ["\t".join(cells[place] for place in order) for cells in (header, *rows)]
    lines += draw(st.sampled_from([[], [], [], lines[-1:], lines[:1]]))
    for _ in range(draw(st.sampled_from([0, 0, 2]))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", "\r", " "])))
    mark, end = draw(st.sampled_from(["", "", "\ufeff"])), draw(st.sampled_from(["\n", "\r\n"]))
    return (mark + end.join(lines) + draw(st.sampled_from(["", end, end * 2]))).encode()


@st.composite
def odd_rows(draw):
    """A row of `ODD`, of few keys, mostly good."""
    row = [draw(st.sampled_from("abA")), draw(st.sampled_from(["1", "01", "1.0", "2"])), *GOOD[2:]]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        row[draw(st.integers(0, len(row) - 1))] = draw(st.one_of(SHORT, CELL))
    return row


@st.composite
def damaged(draw, reports):
    """A report, mostly with something done to its bytes."""
    data = draw(reports)
    place, other = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    return draw(
        st.sampled_from(
            [data, data, data, data[:place], data[:place] + draw(BYTES) + data[place:], data[:place] + data[other:], data[:other] + data[place:], data + draw(reports)]
        )
    )  # fmt: skip


CHECKM2 = st.one_of(
    st.sampled_from([NEW, OLD, NEW.replace("\n", "\r\n"), report()]),
    st.builds(
        lambda name, cell: report(**{"Name": "x", name: cell}), st.sampled_from(NEW.split("\n")[0].split("\t")), CELL
    ),
).map(str.encode)
FOLDER = st.sampled_from(
    ["0", "1", "2", "a b", "[1]", "st*r", "h#sh", "100%", "pl+us", "ü🧬", "a: b", "quo'te\"", "b\\s"]
)


@st.composite
def jobs(draw):
    """The table and the files of a job."""
    if draw(st.integers(0, 3)):
        table, reports, name = (
            ODD,
            st.one_of(odd_reports(), odd_reports(), damaged(odd_reports()), st.binary(max_size=60)),
            "odd.tsv",
        )
    else:
        table, reports, name = quality_report, damaged(CHECKM2), "quality_report.tsv"
    folders = draw(st.lists(FOLDER, min_size=1, max_size=3, unique=True))
    return table, {f"{folder}/{name}": draw(reports) for folder in folders}


@examples(25)
@given(job=jobs(), quarantine=st.booleans(), piece=st.sampled_from(["128m", "100"]))
def test_odd_reports_are_read_as_they_should_or_refused(lake, put, size, job, quarantine, piece):
    (table, files), spark = job, lake.get_spark()
    spark.conf.set("spark.sql.files.maxPartitionBytes", piece)
    try:
        expected = check(spark, put(files), table, quarantine)
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    COUNTED["jobs read" if expected else "jobs refused"] += 1


def table_of(desk):
    """What the table holds: the rows by key, and how often it was written."""
    rows = desk.spark.table(desk.full("odd")).collect() if desk.exists("odd") else []
    rejected = desk.spark.table(desk.full("odd_rejected")).count() if desk.exists("odd_rejected") else 0
    return {(r.Name, r.Part): said(r.asDict(), ODD) for r in rows}, rejected, desk.commits("odd"), len(rows)


@examples(4, shrink=False)
@given(
    reports=st.lists(st.one_of(odd_reports(), odd_reports(), damaged(odd_reports())), min_size=1, max_size=2),
    quarantine=st.booleans(),
)
def test_odd_reports_end_to_end_change_the_table_as_they_should_or_not_at_all(lake, reports, quarantine):
    desk = Desk(lake, "fuzz")
    before, rejected, commits, _ = table_of(desk)
    job = lake.job("odd", {f"{n}/odd.tsv": data for n, data in enumerate(reports)})
    files = {o["file"]: data for o, data in zip(job["outputs"], reports, strict=True)}
    meta = {"table": f"{desk.namespace}.odd", "on_bad_row": "quarantine" if quarantine else "fail"}
    done = lake.deliver(job, run_import=lambda *event: import_tables(*event, ODD), meta=meta)
    expected = outcome(files, ODD, quarantine)
    COUNTED["jobs not imported" if done.error else "jobs imported"] += 1
    if isinstance(expected, str):
        assert f" No table was changed.{expected}" in str(done.error)
        assert table_of(desk)[:3] == (before, rejected, commits)
    else:
        assert done.error is None
        after = before | {(row["Name"], row["Part"]): said(row, ODD) for row in expected.rows}
        assert table_of(desk)[:2] == (after, rejected + len(expected.rejected))
        assert table_of(desk)[3] == len(after)


# what is handed over

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=5,
)
TIMES_GIVEN = st.one_of(
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.datetimes().map(str),
    st.sampled_from(
        [
            "",
            "2025",
            "2025-13-01",
            "2025-01-01",
            " 2025-01-01T00:00:00Z\n",
            "2025-01-01T24:00",
            "20250101T000000+0200",
            "now",
            "1735689600",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-01:00",
        ]
    ),
)
ALMOST = st.sampled_from(["a.b", "a.b.c", "a", ".", "a.", ".b", "a..b", "a.b\n", "a`.b", "ä.b", "a.b ", "１.b", "_._", "1.2", "A.B", "a.b-c", "${x}.b", "a/b.c", "../a.b", "a.\0"])  # fmt: skip
NAME = st.one_of(ALMOST, ALMOST, ALMOST, st.text(max_size=8), st.from_regex(r"\A[\w.]{0,12}\Z"), JSON)
PREFIX = st.sampled_from(["u_kim__", "u_kim.lee__", "u_kim\n", "ü", "`", "U", "u_k-m__", "u_kim__\n"])
OUTPUT = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {
            "file": st.one_of(
                st.text(max_size=20),
                st.builds(
                    "{}/{}".format,
                    st.text("b/._~\\ \n*", max_size=8),
                    st.sampled_from(["odd.tsv", "a\n.tsv", ".tsv", "_.tsv"]),
                ),
            )
        }
    ),
)
ODD_VALUES = {
    "id": JSON,
    "outputs": st.one_of(JSON, st.lists(OUTPUT, max_size=3)),
    "namespace_prefix": st.one_of(JSON, NAME, PREFIX, PREFIX),
    "image": JSON,
    "image_digest": JSON,
    "completion_time": st.one_of(JSON, TIMES_GIVEN),
    "more": JSON,
}  # fmt: skip
ODD_META = {
    "table": st.one_of(NAME, st.just(1.5)),
    "deltatable": NAME,
    "tables": st.one_of(JSON, st.dictionaries(st.one_of(st.just("odd"), st.text(max_size=4)), NAME, max_size=2)),
    "on_bad_row": st.one_of(JSON, st.sampled_from(["fail", "quarantine", "skip"])),
    "again": JSON,
    "more": JSON,
}  # fmt: skip
GOOD_JOB = {
    "id": "job", "outputs": [{"file": "bucket/cts/odd.tsv", "crc64nvme": None}], "namespace_prefix": "u_kim__",
    "image": "image", "image_digest": "sha256:0", "completion_time": "2025-01-01T00:00:00Z",
}  # fmt: skip


@st.composite
def changed(draw, good, odd):
    """A dict with some keys taken away, and some with odd values."""
    keys = draw(st.lists(st.sampled_from(sorted(odd)), max_size=2, unique=True))
    kept = {k: v for k, v in good.items() if k not in keys or draw(st.integers(0, 3))}
    return kept | {k: draw(odd[k]) for k in keys if k in kept or k not in good}


class Asked(BaseException):
    """The importer asked for a session."""


def ask(**_):
    """A `get_spark` that only notices."""
    raise Asked


JOB = st.one_of(st.just(GOOD_JOB), changed(GOOD_JOB, ODD_VALUES), changed(GOOD_JOB, ODD_VALUES), JSON)
META = st.one_of(
    st.just({"table": "ns.odd"}), changed({"table": "ns.odd"}, ODD_META), changed({"table": "ns.odd"}, ODD_META), JSON
)


@examples(1500)
@given(job_info=JOB, metadata=META)
def test_an_odd_job_is_refused_clearly_or_has_names_that_a_catalog_takes(job_info, metadata):
    COUNTED["jobs and metadata"] += 1
    with pytest.raises((ImportFailed, Asked)) as error:
        import_tables(ask, job_info, metadata, ODD)
    if error.type is ImportFailed:
        assert str(error.value).startswith("CTS job ")
        assert " was not imported" in str(error.value)
        assert "The importer failed:" not in str(error.value)
    else:
        job = read_job(job_info)
        [name] = table_names(job, metadata, ["odd"]).values()
        assert re.fullmatch(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+", name)
        assert name.startswith(job.prefix)
        assert all(not {"", ".", ".."} & set(path.split("/")) for path in select_outputs(job, ODD.files))


# YAML files

ODD_SPEC = {
    "name": JSON,
    "py_module": st.one_of(JSON, st.sampled_from(["cdmeventimporters.checkm2", "json", "no.such", ".", "a b", "", " ", "os.path", "json\0", "-c"])),
    "image": st.one_of(JSON, st.sampled_from(["a:1", "a@sha256:0", "host:80/a", " "])),
    "importer_meta": st.one_of(JSON, changed({"table": "ns.odd"}, {k: v for k, v in ODD_META.items() if k in ("table", "deltatable", "tables", "on_bad_row", "more")})),
    "more": JSON,
}  # fmt: skip
YAML = st.one_of(
    changed({"name": "a", "py_module": "cdmeventimporters.checkm2", "importer_meta": {"table": "ns.odd"}}, ODD_SPEC).map(lambda spec: {"image": f"image{id(spec)}"} | spec).map(yaml.safe_dump).map(str.encode),
    JSON.map(yaml.safe_dump).map(str.encode),
    st.binary(max_size=40),
    st.text("ab:-[]{}&*!|>'\"%@?#,. \n\t1", max_size=20).map(str.encode),
    st.sampled_from([b"a: 2001-99-99", b"!!timestamp x", b"a: !!int x", b"!!bool x", b"[" * 3000, b"1.5", b"!!python/object:os.system a", b"!!python/name:os.system ''", b"a: *a", b"a: &a [*a]", b"<<: 1", b"? {a: 1}\n: 2", b"a: 1\na: 2", b"---\n---\n", b"\xff\xfe", b"a: !!binary 1", b"\0"]),
)  # fmt: skip


@examples(3, shrink=False)
@given(texts=st.lists(YAML, min_size=50, max_size=50))
def test_an_odd_yaml_file_is_a_problem_or_an_importer(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("yaml")
    for n, text in enumerate(texts):
        (folder / f"{n}.yaml").write_bytes(text)
    COUNTED["YAML files"] += len(texts)
    wrong = {problem.split(" ")[0] for problem in problems(folder)}
    for name in wrong:
        (folder / name).unlink()  # it raises FileNotFoundError if a problem does not begin with a file's name
    found = load_importers(folder)
    assert len(found) == len(texts) - len(wrong)
    for spec in found.values():
        assert read_options(spec.importer_meta).quarantine in (True, False)
        names = list(spec.importer_meta.get("tables") or ["odd"])
        assert set(table_names(read_job(GOOD_JOB), spec.importer_meta, names)) == set(names)
