"""What comes from outside stays data: no name or value becomes SQL or a path, no key of the storage is told to anybody, and the lake is ours alone."""

import re
import urllib.error
import urllib.request

import psutil
import pytest
from conftest import IMAGE, NEW, ROOT, SHOWING, report

from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.core.spec import Column, Table
from cdmeventimporters.dev.catalog import problems
from cdmeventimporters.dev.lake.lake import Lake

HOSTILE = [
    "it's",
    'a "quoted" word',
    "`tick`",
    "back\\slash\\'",
    "x'); DROP TABLE checkm2; --",
    "x' OR '1'='1",
    "/* no comment */",
    "${spark.app.name}",
    "$(id)",
    "%2e%2e%2f%00",
    "{a,b}",
    "[x]*?",
    "{'_file': 1}",
    "a + b = π",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
]


IN_PATHS = [text for text in HOSTILE if "/" not in text and ":" not in text]


@pytest.mark.matrix
@pytest.mark.usefixtures("size")
def test_hostile_cells_and_paths_land_as_they_are(desk):
    files = {f"{name}/quality_report.tsv": report(Name=name) for name in IN_PATHS}
    files["quality_report.tsv"] = report(*(genome(name) for name in HOSTILE))
    job = desk.good(files).job_info
    found = desk.rows("cts_output_file", "Additional_Notes")
    paths = [f"{desk.lake.bucket}/cts/output/{job['id']}/{name}" for name in files]
    assert set(found) == {*IN_PATHS, *(f"{name} again" for name in HOSTILE)}
    assert {file for file, _ in found.values()} == set(paths)
    assert {notes for name, (_, notes) in found.items() if name.endswith(" again")} == set(HOSTILE)


def genome(name):
    """A row of a genome of this name, which stands in the notes, too."""
    [row] = report(Name=f"{name} again", Additional_Notes=name).split("\n")[1:-1]
    return row


def test_hostile_bad_cells_are_quarantined_and_told_as_they_are(desk):
    rows = [report(Name=name, Completeness=name).split("\n")[1] for name in HOSTILE]
    said = desk.bad(report(*rows))
    assert f"Name {HOSTILE[0]!r}, column Completeness: '{HOSTILE[0]}' is not a number" in said
    desk.good(report(*rows, report(Name="good").split("\n")[1]), meta={"on_bad_row": "quarantine"})
    kept = desk.rows("row", table="checkm2_rejected", key="line")
    assert [kept[line][0] for line in sorted(kept)] == rows
    assert set(desk.rows()) == {"good"}


SAID = " ".join(IN_PATHS)


def test_what_a_job_says_of_itself_is_stored_as_it_is(desk):
    job = desk.good(NEW, job_id=SAID, image_digest=SAID).job_info
    assert set(desk.rows("cts_job_id", "cts_image_digest").values()) == {(SAID, SAID)}
    desk.bad(report(Completeness=SAID), job_id=f"{SAID} again")
    done, failed = desk.log("cts_job_id", "image_digest", "status", "error")
    assert done == (SAID, SAID, "imported", None)
    assert failed[0] == f"{SAID} again"
    assert SAID[:60] in failed[-1]
    assert desk.lake.deliver(job, meta={"table": f"{desk.namespace}.checkm2"}).error is None
    assert desk.commits() == 2


def test_hostile_comments_are_comments(desk):
    table = Table(
        "hostile", "; ".join(HOSTILE), files="*.tsv", key="id",
        columns=[Column("id", "string", "'; DROP TABLE x; --"), *(Column(f"c{n}", "string", text) for n, text in enumerate(HOSTILE))],
    )  # fmt: skip
    names = [c.name for c in table.tool_columns]
    text = "\n".join("\t".join(line) for line in [names, [f"cell {name}" for name in names], [""]])
    run = lambda *given: import_tables(*given, table)  # noqa: E731
    outcome = desk.lake.submit("any", {"x.tsv": text}, run_import=run, meta={"table": f"{desk.namespace}.hostile"})
    assert outcome.error is None, str(outcome.error)
    described = {r.col_name: r for r in desk.spark.sql(f"DESCRIBE TABLE {desk.full('hostile')}").collect()}
    assert [described[f"c{n}"].comment for n in range(len(HOSTILE))] == HOSTILE
    assert desk.spark.catalog.getTable(desk.full("hostile")).description == "; ".join(HOSTILE)


def test_a_hostile_name_is_no_name_of_a_table(desk):
    for text in [*HOSTILE, "../../etc", "a.b.c", ""]:
        outcome = desk.submit(NEW, meta={"table": f"{desk.namespace}.{text}"})
        assert "expected namespace.table, of letters, digits and '_'" in str(outcome.error)
        assert outcome.sessions == 0
        outcome = desk.submit(NEW, namespace_prefix=f"u_{text or '-'}__")
        assert "a database name takes only letters, digits and '_'" in str(outcome.error)
        assert outcome.sessions == 0


def test_no_key_of_the_storage_is_told(desk):
    """Neither by messages and their tracebacks, nor in tables, nor in what Spark writes down."""
    lake = desk.lake
    desk.good(NEW)
    failing = [
        report(Name="x", Completeness="1e9"),
        "no header\n",
        b"\xff\xfe",
    ]
    outcomes = [desk.submit(text) for text in failing]
    gone = lake.job(IMAGE, {"quality_report.tsv": NEW})
    lake.s3.client().delete_object(Bucket=lake.bucket, Key=gone["outputs"][0]["file"].split("/", 1)[1])
    outcomes += [lake.deliver(gone, meta={"table": f"{desk.namespace}.checkm2"})]
    told = [str(outcome.dead_letter) + repr(outcome) for outcome in outcomes]
    tables = desk.spark.sql(f"SHOW TABLES IN {desk.full('x').split('.')[0]}").collect()
    told += [str(desk.spark.table(desk.full(t.tableName)).collect()) for t in tables]
    told += [str(desk.spark.sql(f"DESCRIBE EXTENDED {desk.full(t.tableName)}").collect()) for t in tables]
    told += [log.read_text(errors="replace") for log in lake.folder.glob("*.log")]
    assert len(told) > 8
    of_catalog = [lake.rest_catalog.credential, lake.rest_catalog.credential.split(":")[1]] if lake.rest_catalog else []
    for secret in (lake.s3.access_key, lake.s3.secret_key, *of_catalog):
        assert not [text for text in told if secret in text]


def test_notebooks_hold_no_key_and_those_of_the_engine_no_output(lake):
    for notebook in (ROOT / "nbs").rglob("*.ipynb"):
        text = notebook.read_text()
        assert notebook.parent.name in SHOWING or not re.search(r'"output_type"', text), notebook
        assert lake.s3.secret_key not in text
        assert lake.s3.access_key not in text


@pytest.mark.once
def test_the_lake_listens_on_the_loopback_only(shared_lake, lake):
    lake.get_spark()
    processes = psutil.Process().children(recursive=True)
    listening = [c.laddr.ip for p in processes for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert len(listening) > 3
    assert {ip.removeprefix("::ffff:") for ip in listening} <= {"127.0.0.1", "::1"}


@pytest.mark.once
def test_each_lake_has_keys_of_its_own_and_refuses_others(lake):
    if lake.s3.name == "environment":
        pytest.skip("the keys are the environment's")
    with Lake(s3=lake.s3.name) as other:
        ours, theirs = ({x.s3.access_key, x.s3.secret_key} for x in (lake, other))
        assert not ours & theirs
        assert min(len(key) for key in ours | theirs) >= 16
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{other.s3.endpoint}/{other.bucket}?list-type=2", timeout=10)


def test_yaml_makes_no_objects(tmp_path):
    witness = tmp_path / "made"
    (tmp_path / "bad.yaml").write_text(f"name: !!python/object/apply:pathlib.Path.touch [{witness}]\n")
    [said] = problems(tmp_path)
    assert said.startswith("bad.yaml is not YAML: could not determine a constructor for the tag")
    assert not witness.exists()
