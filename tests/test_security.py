"""What comes from outside stays a value: it becomes neither SQL nor a path. The lake's keys stay with the lake, and nobody else gets in."""

import json
import re
from ipaddress import ip_address

import boto3
import psutil
import pytest
import yaml
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import HEADER, NEW, ROOT, ROWS, report

from cdmeventimporters.core.importing import import_tables
from cdmeventimporters.core.spec import Column, Table
from cdmeventimporters.dev.catalog import load_importers, problems
from cdmeventimporters.dev.s3 import start_s3

SQL = [
    "${spark.app.name}",
    "${env:HOME}",
    "$",
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "\\\\",
    "%",
    "_",
    ";",
    "--",
    "/*",
    "' OR '1'='1",
    "'); DROP TABLE x; --",
    "`; DROP DATABASE default; --",
    "\\u0027",
    "\\047",
    "{}",
    "{0}",
    "$1",
    ":x",
    "?",
]
TEXTS = [*SQL, "a\rb", "\0", "\x1b[2J", "\ufeff", "\u202e", "\u00a0", "é", "e\u0301", "🧬", "../../etc/passwd", "s3a://x/y", "<script>", "NULL", "null", "\\N", "x" * 5000]  # fmt: skip
ALL = "".join(text for text in TEXTS if len(text) < 99)


def test_names_and_cells_come_back_character_by_character(desk):
    cells = [
        *TEXTS,
        "\x01" + ALL,
        "\U0010ffff" + ALL,
    ]  # the last are the smallest and the largest key, which stand in the statement
    for percent in ("1", "2"):
        rows = [
            report(Name=text, Additional_Notes=text, Completeness=percent).split("\n")[1] + f"\t{text}"
            for text in cells
        ]
        desk.good(report(*rows, header=HEADER + "\t" + ALL))
        found = desk.rows("Additional_Notes", "Completeness", "_rescued_data")
        assert {name: (notes, value, json.loads(more)) for name, (notes, value, more) in found.items()} == {
            text: (text, float(percent), {ALL: text}) for text in cells
        }
    assert len(desk.spark.table(desk.full("checkm2")).collect()) == len(cells)


@pytest.mark.usefixtures("size")
def test_file_names_come_back_character_by_character(desk):
    taken = "/\\" if desk.lake.s3.name == "seaweedfs" else "/"  # SeaweedFS takes a backslash for a slash
    folders = [
        text
        for text in [*SQL, "a\nb", "a\rb", "é", "e\u0301", "..a", "a..", "a: b", "c: b"]
        if not set(taken) & set(text)
    ]
    bad = report(Name="bad", Completeness="x").split("\n")[1]
    files = {
        f"{folder}/quality_report.tsv": report(report(Name=str(n)).split("\n")[1], bad)
        for n, folder in enumerate(folders)
    }
    job = desk.good(files, meta={"on_bad_row": "quarantine"})
    paths = [output["file"] for output in job.job_info["outputs"]]
    assert [path.split("/", 4)[-1] for path in paths] == list(files)
    assert {int(name): row.cts_output_file for name, row in desk.rows().items()} == dict(enumerate(paths))
    assert set(desk.rows(table="checkm2_rejected", key="cts_output_file")) == set(paths)
    before = desk.commits()
    assert job.replay().error is None
    assert desk.commits() == before


def test_what_a_job_says_of_itself_comes_back_character_by_character(desk):
    digest = f"sha256:{ALL}"
    job = desk.lake.job("ghcr.io/kbasetest/cdm_checkm2", {"quality_report.tsv": report(Completeness="x")})
    job |= {"id": ALL, "image_digest": digest, "note": ALL}
    for text in (None, report()):
        if text:
            desk.lake.put(job["outputs"][0]["file"].split("/", 1)[1], text)
        desk.lake.deliver(job, meta={"table": f"{desk.namespace}.checkm2"})
    assert [(row.cts_job_id, row.cts_image_digest) for row in desk.rows().values()] == [(ALL, digest)]
    (*failed, error, info), (*imported, _, none) = desk.log("status", "cts_job_id", "image_digest", "error", "job_info")
    assert [failed, imported, none] == [["failed", ALL, digest], ["imported", ALL, digest], None]
    assert error.startswith(f"CTS job {ALL} (ghcr.io/kbasetest/cdm_checkm2) was not imported")
    assert json.loads(info)["note"] == ALL


def test_meanings_and_words_for_none_come_back_character_by_character(desk):
    columns = [Column("Name", "string", ALL), Column("Note", "string", "Note", unit=ALL, source=ALL, nulls=tuple(SQL))]
    table = Table("checkm2", ALL, files="*.tsv", key="Name", columns=columns, source=ALL)
    cells = [*SQL, "kept"]
    text = "\n".join(["Name\tNote", *(f"{n}\t{cell}" for n, cell in enumerate(cells))])
    desk.good(text, run_import=lambda *event: import_tables(*event, table))
    described = {
        row.col_name: row.comment for row in desk.spark.sql(f"DESCRIBE TABLE {desk.full('checkm2')}").collect()
    }
    assert (described["Name"], described["Note"]) == (ALL, f"Note [{ALL}] ({ALL})")
    assert desk.spark.catalog.getTable(desk.full("checkm2")).description == f"{ALL} ({ALL})"
    assert [note for (note,) in desk.rows("Note").values() if note] == ["kept"]


EVIL = ["a.b`; DROP DATABASE default; --", "a.b c", "a.b;", "a.`b`", "a.b'", 'a."b"', "../a.b", "a/b.c", "a.b\n", "a.b\0", "a.b--", "ä.b", "a.${x}", "delta.`s3a://x/y`", "a.b@v0"]  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_is_more_than_a_name_is_refused_before_a_session(lake, name):
    job = lake.job("ghcr.io/kbasetest/cdm_checkm2", [f"{lake.bucket}/quality_report.tsv"])
    outcome = lake.deliver(job, meta={"table": name})
    assert outcome.sessions == 0
    assert f"importer_meta names the table {name!r}; expected namespace.table, of letters, digits and '_'." in str(
        outcome.error
    )
    prefix = name.split(".")[0] + name.split(".", 1)[1] + "__"
    if re.search(r"\W", prefix, re.ASCII):
        outcome = lake.deliver(job | {"namespace_prefix": prefix}, meta={"table": "a.b"})
        assert outcome.sessions == 0
        assert f"namespace_prefix is {prefix!r}, but a database name takes only letters, digits and '_'." in str(
            outcome.error
        )


# keys


def test_the_keys_of_the_lake_stay_with_the_lake(desk):
    """After an import, bad rows, a file that is not there, and a bucket that does not let us in."""
    lake, client = desk.lake, desk.lake.s3.client()
    wrong = "wrong0" + lake.s3.secret_key[:30]
    client.create_bucket(Bucket="closed")
    client.put_object(Bucket="closed", Key="quality_report.tsv", Body=NEW.encode())
    desk.spark.conf.set("fs.s3a.bucket.closed.secret.key", wrong)
    outcomes = [
        desk.submit(NEW),
        desk.submit(report(ROWS[0], ROWS[1].replace("61.07", "x")), meta={"on_bad_row": "quarantine"}),
        desk.submit(report(Completeness="150")),
        desk.submit([f"{lake.bucket}/gone/quality_report.tsv"]),
        desk.submit(["closed/quality_report.tsv"]),
        desk.submit(["no-such-bucket/quality_report.tsv"]),
    ]
    desk.spark.conf.unset("fs.s3a.bucket.closed.secret.key")
    assert [outcome.error is None for outcome in outcomes] == [True, True, False, False, False, False]
    assert "The output files cannot be read." in str(outcomes[4].error)
    said = {f"outcome {n}": f"{outcome} {outcome.dead_letter}" for n, outcome in enumerate(outcomes)}
    said |= {
        "log": str(desk.log("*")),
        "history": str(desk.spark.sql(f"DESCRIBE HISTORY {desk.full('checkm2')}").collect()),
    }
    said |= {path.name: path.read_text(errors="replace") for path in lake.folder.glob("*.log")}
    said |= {
        f"process {p.pid}": " ".join(p.cmdline())
        for p in psutil.Process().children(recursive=True)
        if p.status() != psutil.STATUS_ZOMBIE
    }
    assert {"spark.log", "s3.log", "derby.log"} <= set(said)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=lake.bucket, Prefix="users-sql-warehouse/"):
        for found in page["Contents"]:
            said[found["Key"]] = (
                client.get_object(Bucket=lake.bucket, Key=found["Key"])["Body"].read().decode(errors="replace")
            )
    keys = (lake.s3.access_key, lake.s3.secret_key, wrong)
    assert [(where, keys.index(key)) for where, text in said.items() for key in keys if key in text] == []


@pytest.mark.parametrize("notebook", sorted(path.name for path in ROOT.glob("nbs/*/*.ipynb")))
def test_no_notebook_shows_a_key(notebook):
    """Keys of lakes are 16 and 40 hexadecimal digits."""
    text = next(ROOT.glob(f"nbs/*/{notebook}")).read_text()
    assert re.findall(r"\b(?:[0-9a-f]{16}|[0-9a-f]{40})\b|AKIA[0-9A-Z]{16}", text) == []


def test_the_lake_listens_on_loopback_only(lake):
    lake.get_spark()
    processes = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    listening = {
        (process.name(), socket.laddr.ip)
        for process in processes
        for socket in process.net_connections(kind="inet")
        if socket.status == psutil.CONN_LISTEN
    }
    assert "java" in {name for name, _ in listening}
    assert lake.s3.guard is None or len({name for name, _ in listening}) == 2
    addresses = {(name, ip_address(ip)) for name, ip in listening}
    assert {
        (name, str(ip)) for name, ip in addresses if not (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
    } == set()


def lists_buckets(endpoint, **keys):
    """The error of a client with these keys, None if it is let in."""
    config = Config(s3={"addressing_style": "path"}, **({} if keys else {"signature_version": UNSIGNED}))
    try:
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys).list_buckets()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_two_lakes_have_different_keys_and_refuse_each_others(lake, tmp_path):
    if not lake.s3.guard:
        pytest.skip("the environment's server has the environment's keys")
    other = start_s3(tmp_path, lake.s3.name, remove=tmp_path)
    try:
        mine, others = (
            {"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key} for s3 in (lake.s3, other)
        )
        assert not set(mine.values()) & set(others.values())
        assert all(len(keys["aws_secret_access_key"]) == 40 for keys in (mine, others))
        assert lists_buckets(other.endpoint, **others) is None
        mixed = others | {"aws_secret_access_key": mine["aws_secret_access_key"]}
        assert [lists_buckets(other.endpoint, **keys) for keys in (mine, mixed, {})] == [403, 403, 403]
    finally:
        other.stop()


# YAML


def test_a_yaml_file_that_would_run_python_is_refused(tmp_path):
    (tmp_path / "evil.yaml").write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    [problem] = problems(tmp_path)
    assert problem.startswith(
        "evil.yaml is no YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.mkdir'"
    )
    with pytest.raises(yaml.YAMLError):
        load_importers(tmp_path)
    assert not (tmp_path / "made").exists()
