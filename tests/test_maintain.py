"""What keeps tables small and a platform trusted: maintenance, and the self-test; on both formats."""

import re
from datetime import timedelta

import pytest
from conftest import FORMAT, ROWS, delta_only, report

from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.dev.errors import UsageError
from cdmeventimporters.dev.operate import maintain as work
from cdmeventimporters.dev.operate.selftest import selftest

pytestmark = [pytest.mark.s3] if FORMAT == "iceberg" else []  # CI has them on Iceberg as well

FEW = 3  # imports, each with a file of its own
REWRITING = ["rewrite_data_files", "rewrite_position_delete_files", "rewrite_manifests"]


@pytest.fixture(autouse=True)
def _two_files_are_many(monkeypatch):
    """Files are joined where there are more than two."""
    monkeypatch.setattr(work, "MAX_FILES", 2)


@pytest.fixture
def said(run_command, monkeypatch):
    """How a command ended, and what it said."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments):
        ran = run_command(*arguments)
        return ran.exit_code, ran.output

    return run


def needs(desk) -> dict[str, work.Need]:
    """What the tables of a namespace need, by their short names."""
    names = work.imported_tables(desk.spark, desk.full("x").split(".")[0])
    return {name.split(".")[-1]: work.need_of(desk.spark, name) for name in names}


def test_many_small_files_become_one_and_no_job_is_forgotten(desk, said):
    jobs = [desk.good(report(Name=f"bin.{n}"), input_files=[f"in/bin.{n}.fna"]) for n in range(FEW)]
    before, namespace = needs(desk), desk.full("x").split(".")[0]
    assert {name: need.files for name, need in before.items()} == dict.fromkeys(
        ["checkm2", "import_inputs", "import_log"], FEW
    )
    commits = desk.commits()
    code, shown = said("maintain", "--namespace", namespace, "--dry-run")
    assert (code, desk.commits()) == (0, commits)
    assert {"delta": "OPTIMIZE", "iceberg": "rewrite_data_files"}[FORMAT] in shown
    code, shown = said("maintain", "--namespace", namespace)
    assert (code, f"{FEW} → 1" in shown) == (0, True)
    assert [need.files for need in needs(desk).values()] == [1, 1, 1]
    commits = desk.commits(), desk.commits("import_log")
    assert jobs[0].replay().error is None
    assert (desk.commits(), desk.commits("import_log")) == commits
    assert len(desk.rows()) == FEW


@pytest.mark.skipif(FORMAT != "iceberg", reason="Delta writes files again whose rows are replaced")
def test_files_of_a_large_table_are_written_again_of_which_many_rows_were_replaced(desk, monkeypatch):
    monkeypatch.setattr(work, "MAX_FILES", 10)
    monkeypatch.setattr(work, "LARGE", 39)
    for n, names in enumerate([range(40), range(10), range(20)]):
        job = desk.good(report(*(f"bin.{i}\t{n}\t" + ROWS[0].split("\t", 2)[2] for i in names)))
        found = needs(desk)["checkm2"]
        assert (found.files, [re.search(r"ALTER|rewrite_\w+", s)[0] for s in found.statements]) == (
            n + 1,
            [["ALTER"], [], REWRITING][n],
        )
        if n == 0:
            [found] = work.maintain(desk.spark, [found], lambda table: None)
            assert (found.error, found.statements) == ("", ())
    rows = desk.rows("Completeness")
    assert [need.error for need in work.maintain(desk.spark, [found], lambda table: None)] == [""]
    assert (needs(desk)["checkm2"].statements, desk.rows("Completeness")) == ((), rows)
    assert desk.spark.table(f"{desk.full('checkm2')}.delete_files").count() == 0
    commits = desk.commits()
    assert (job.replay().error, desk.commits()) == (None, commits)


@pytest.mark.skipif(FORMAT != "iceberg", reason="Delta tells the age of files by the storage, whose clock nobody sets")
def test_snapshots_older_than_a_week_expire(desk, monkeypatch):
    monkeypatch.setattr(work, "MAX_FILES", 10)  # so that no file is joined, which makes one snapshot more
    for n in range(3):
        desk.good(report(Name=f"bin.{n}"))
    assert [need.old for need in needs(desk).values()] == [0, 0]
    monkeypatch.setattr(work, "RETENTION", timedelta(0))
    found = needs(desk)
    assert {name: need.old for name, need in found.items()} == {"checkm2": 2, "import_log": 2}
    assert [need.error for need in work.maintain(desk.spark, list(found.values()), lambda table: None)] == ["", ""]
    assert desk.commits() == 2  # the creation, and the current snapshot
    assert len(desk.rows()) == 3


@delta_only
def test_what_cannot_be_maintained_is_named_and_the_others_are_maintained(desk, said):
    for n in range(FEW):
        desk.good(report(Name=f"bin.{n}"))
    desk.spark.sql(f"CREATE VIEW {desk.full('checkm2_rejected')} AS SELECT 1 AS x")
    code, shown = said("maintain", "--namespace", desk.full("x").split(".")[0])
    assert (code, "checkm2_rejected: " in shown) == (1, True)
    assert [need.files for name, need in needs(desk).items() if not need.error] == [1, 1]
    assert [name for name, need in needs(desk).items() if need.error] == ["checkm2_rejected"]


def test_the_selftest_says_what_it_proved_and_leaves_no_namespace(lake, said):
    code, shown = said("selftest", f"s3://{lake.bucket}/self test/")
    assert code == 0, shown
    spark = lake.get_spark()
    kind, catalog = {"delta": "Delta", "iceberg": "Iceberg"}[FORMAT], spark.catalog.currentCatalog()
    lines = shown.splitlines()
    assert lines[0] == f"a session of Spark {spark.version}, with {kind} tables in the catalog {catalog}"
    assert lines[3:5] == [
        "an event that came again changed nothing",
        "a bad row failed its job with a message, and changed nothing",
    ]
    assert lines[5].startswith("removed cdm_selftest_")
    assert not [row for row in spark.sql("SHOW NAMESPACES").collect() if row[0].startswith("cdm_selftest")]


def test_a_selftest_that_fails_says_so_and_leaves_no_namespace(lake, said, monkeypatch):
    assert said("selftest", "cts-data") == (1, "The folder is 'cts-data'; expected bucket/folder.\n")
    code, shown = said("selftest", "no-such-bucket/selftest")
    assert (code, "no-such-bucket" in shown) == (1, True)
    real, calls = import_tables, iter(range(3))
    monkeypatch.setattr(
        "cdmeventimporters.dev.operate.selftest.import_tables",
        lambda *given: real(*given) if next(calls) < 2 else [_Nothing()],
    )
    with pytest.raises(UsageError, match=r"^The self-test failed: a job with a bad row was imported[.]$"):
        list(selftest(lake.get_spark(), f"{lake.bucket}/selftest"))
    assert not [row for row in lake.get_spark().sql("SHOW NAMESPACES").collect() if row[0].startswith("cdm_selftest")]


class _Nothing:
    """What an importer returns that does nothing."""

    status = "applied"
